//! Robots: how they move over the floor, and when they trigger which chain.
//!
//! Everything that a robot does follows from the seed and its number, in virtual time.

use core::time::Duration;

use nimblenet_core::Instant;
use noise::{NoiseFn, Perlin};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::floor::{Floor, Position};

/// How robots behave.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Habits {
    /// The slowest and the fastest that a robot moves, in metres per second.
    pub speed_m_s: (f64, f64),
    /// The shortest and longest time between two triggers of one robot.
    pub interval: (Duration, Duration),
    /// How much more often popular chains are triggered: the chain with number n, from 0, has the
    /// weight 1 / (n + 1)^zipf. With 0 all are equal.
    pub zipf: f64,
}

impl Habits {
    /// Those of the paper.
    pub const PAPER: Self = Self {
        speed_m_s: (0.0, 1.0),
        interval: (Duration::from_secs(9), Duration::from_secs(11)),
        zipf: 0.0,
    };
}

/// A robot that moves over a floor and triggers chains.
#[derive(Clone, Debug)]
pub struct Robot {
    walk: Walk,
    chains: Vec<usize>,
    /// For each chain, its weight and those of the chains before it.
    weights: Vec<f64>,
    interval: (Duration, Duration),
    random: ChaCha8Rng,
    next_trigger: Instant,
}

impl Robot {
    /// Robot `number` of the run with this seed, which triggers the chains with these numbers.
    ///
    /// Its first trigger comes at a random time within a mean interval, so that robots do not trigger
    /// all together.
    ///
    /// # Panics
    /// If `chains` is empty.
    pub fn new(seed: u64, number: u64, floor: &Floor, habits: &Habits, chains: Vec<usize>) -> Self {
        assert!(!chains.is_empty(), "a robot has chains");
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number);
        let walk = Walk::new(floor, habits.speed_m_s, &mut random);
        let weights = chains.iter().scan(0.0, |sum, chain| {
            *sum += libm::pow(*chain as f64 + 1.0, -habits.zipf);
            Some(*sum)
        });
        let (shortest, longest) = habits.interval;
        let first = uniform(&mut random, Duration::ZERO, (shortest + longest) / 2);
        Self {
            walk,
            weights: weights.collect(),
            chains,
            interval: habits.interval,
            next_trigger: Instant::ZERO + first,
            random,
        }
    }

    /// Its position at a moment. This is fast if each moment is later than the one before; for an
    /// earlier one, the robot walks its whole path again.
    pub fn position(&mut self, at: Instant) -> Position {
        self.walk.position(at)
    }

    /// When it triggers a chain next.
    pub fn next_trigger(&self) -> Instant {
        self.next_trigger
    }

    /// Triggers: picks one of its chains, and the time of the trigger after this one.
    pub fn trigger(&mut self) -> usize {
        let (shortest, longest) = self.interval;
        self.next_trigger += uniform(&mut self.random, shortest, longest);
        let all = self.weights[self.weights.len() - 1];
        let chosen = self.random.random_range(0.0..all);
        let at = self.weights.partition_point(|weight| *weight <= chosen);
        self.chains[at.min(self.chains.len() - 1)]
    }
}

fn uniform(random: &mut ChaCha8Rng, from: Duration, to: Duration) -> Duration {
    let micros = from.as_micros() as u64..=to.as_micros() as u64;
    Duration::from_micros(random.random_range(micros))
}

/// Movement by continuous noise.
///
/// Noise gives the velocity, and the walls reflect the robot. A robot that starts at any point with
/// equal probability is at any point with equal probability at every later moment too, whatever the
/// noise is like. If noise gave the position itself, robots would favour the middle of the floor.
#[derive(Clone, Debug)]
struct Walk {
    velocity: [Perlin; 2],
    speed_m_s: (f64, f64),
    size_m: [f64; 2],
    start_m: [f64; 2],
    /// Full steps walked, and the position that they would lead to if there were no walls.
    steps: u64,
    reached_m: [f64; 2],
}

impl Walk {
    /// Time between two looks at the noise; the velocity is constant in between.
    const STEP: Duration = Duration::from_millis(500);
    /// Steps until the noise takes another direction: a robot heads somewhere for about 20 s.
    const STEPS_PER_CELL: f64 = 40.0;
    /// Noise repeats after 256 cells along an axis, but not along this slope.
    const SLOPE: f64 = 0.618_033_988_749_894_9;

    fn new(floor: &Floor, speed_m_s: (f64, f64), random: &mut ChaCha8Rng) -> Self {
        let size_m = [floor.width_m(), floor.height_m()];
        let start_m = size_m.map(|size_m| random.random_range(0.0..size_m));
        Self {
            velocity: [(); 2].map(|()| Perlin::new(random.random())),
            speed_m_s,
            size_m,
            start_m,
            steps: 0,
            reached_m: start_m,
        }
    }

    fn position(&mut self, at: Instant) -> Position {
        let (micros, step) = (at.as_micros(), Self::STEP.as_micros() as u64);
        let steps = micros / step;
        if steps < self.steps {
            self.steps = 0;
            self.reached_m = self.start_m;
        }
        while self.steps < steps {
            self.reached_m = self.ahead(Self::STEP);
            self.steps += 1;
        }
        let [x_m, y_m] = self.ahead(Duration::from_micros(micros % step));
        let [width_m, height_m] = self.size_m;
        Position {
            x_m: fold(x_m, width_m),
            y_m: fold(y_m, height_m),
        }
    }

    /// The position after `time` of the present step, as if there were no walls.
    fn ahead(&self, time: Duration) -> [f64; 2] {
        let cell = self.steps as f64 / Self::STEPS_PER_CELL;
        let sample = |noise: &Perlin| noise.get([cell, cell * Self::SLOPE + 0.5]);
        let [x, y] = self.velocity.each_ref().map(sample);
        // Use only operations that give the same bits on every machine.
        let length = (x * x + y * y).sqrt();
        let (slowest, fastest) = self.speed_m_s;
        let speed_m_s = (fastest * length).min(fastest).max(slowest);
        // Where the noise is nothing it has no direction either.
        let metres = time.as_secs_f64() * speed_m_s / length.max(f64::MIN_POSITIVE);
        let [from_x, from_y] = self.reached_m;
        [from_x + x * metres, from_y + y * metres]
    }
}

/// A coordinate that left `0..=size`, reflected back into it.
fn fold(value: f64, size: f64) -> f64 {
    let there_and_back = value.rem_euclid(2.0 * size);
    there_and_back.min(2.0 * size - there_and_back)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_S: u64 = 3600;

    fn robots(seed: u64, count: u64) -> Vec<Robot> {
        let robot =
            |number| Robot::new(seed, number, &Floor::paper(), &Habits::PAPER, vec![3, 5, 8]);
        (0..count).map(robot).collect()
    }

    fn apart_m(a: Position, b: Position) -> f64 {
        let (x_m, y_m) = (a.x_m - b.x_m, a.y_m - b.y_m);
        (x_m * x_m + y_m * y_m).sqrt()
    }

    fn second(second: u64) -> Instant {
        Instant::from_micros(second * 1_000_000)
    }

    #[test]
    fn robots_are_everywhere_equally_often() {
        let floor = Floor::paper();
        for seed in 0..8 {
            let mut without = 0;
            let mut halves = [0; 2];
            for robot in &mut robots(seed, 20) {
                for at in 0..HOUR_S {
                    let position = robot.position(second(at));
                    without += u64::from(floor.node_in_contact(position).is_none());
                    halves[0] += u64::from(position.x_m < floor.width_m() / 2.0);
                    halves[1] += u64::from(position.y_m < floor.height_m() / 2.0);
                }
            }
            let share = |count: u64| count as f64 / (20 * HOUR_S) as f64;
            assert!(
                (0.18..0.26).contains(&share(without)),
                "{seed}: {}",
                share(without)
            );
            for half in halves {
                assert!((0.35..0.65).contains(&share(half)), "{seed}: {half}");
            }
        }
    }

    #[test]
    fn robots_stay_on_the_floor_and_below_the_speed_limit() {
        let floor = Floor::paper();
        let (mut sum_m_s, mut count) = (0.0, 0);
        for robot in &mut robots(1, 20) {
            let mut last = robot.position(Instant::ZERO);
            for tick in 1..HOUR_S * 10 {
                let next = robot.position(Instant::from_micros(tick * 100_000));
                assert!((0.0..=floor.width_m()).contains(&next.x_m));
                assert!((0.0..=floor.height_m()).contains(&next.y_m));
                let speed_m_s = apart_m(next, last) / 0.1;
                assert!(speed_m_s <= 1.0 + 1e-6, "{speed_m_s} m/s");
                (sum_m_s, count) = (sum_m_s + speed_m_s, count + 1);
                last = next;
            }
        }
        let mean_m_s = sum_m_s / f64::from(count);
        assert!((0.35..0.75).contains(&mean_m_s), "{mean_m_s} m/s");
    }

    #[test]
    fn a_seed_repeats_and_another_does_not() {
        let run = |seed| {
            let mut robots = robots(seed, 2);
            let mut log = Vec::new();
            for robot in &mut robots {
                for _ in 0..50 {
                    let at = robot.next_trigger();
                    log.push((at, robot.position(at), robot.trigger()));
                }
            }
            log
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert_ne!(run(7)[..50], run(7)[50..]);
    }

    #[test]
    fn an_earlier_moment_is_found_again() {
        let [robot] = &mut robots(3, 1)[..] else {
            unreachable!()
        };
        let early = robot.position(second(10));
        let late = robot.position(second(100));
        assert_eq!(robot.position(second(10)), early);
        assert_eq!(robot.position(second(100)), late);
    }

    #[test]
    fn triggers_come_every_nine_to_eleven_seconds_and_use_every_chain() {
        let [robot] = &mut robots(5, 1)[..] else {
            unreachable!()
        };
        assert!(robot.next_trigger() <= second(10));
        let mut chosen = [0; 9];
        let mut total = Duration::ZERO;
        for _ in 0..3000 {
            let before = robot.next_trigger();
            chosen[robot.trigger()] += 1;
            let interval = robot.next_trigger() - before;
            let (shortest, longest) = Habits::PAPER.interval;
            assert!(interval >= shortest && interval <= longest);
            total += interval;
        }
        let mean_s = total.as_secs_f64() / 3000.0;
        assert!((9.9..10.1).contains(&mean_s), "{mean_s}");
        assert!([3, 5, 8].iter().all(|chain| chosen[*chain] > 900));
    }

    #[test]
    fn popular_chains_are_triggered_more_often_and_slow_robots_never_stand_still() {
        let habits = Habits {
            speed_m_s: (0.5, 0.8),
            zipf: 1.0,
            ..Habits::PAPER
        };
        let floor = Floor::paper();
        let mut robot = Robot::new(1, 0, &floor, &habits, vec![0, 1, 4]);
        let mut chosen = [0; 5];
        for _ in 0..17_000 {
            chosen[robot.trigger()] += 1;
        }
        // The weights are 1, 1/2 and 1/5.
        for (chain, expected) in [(0, 10_000), (1, 5000), (4, 2000)] {
            let off = i32::abs(chosen[chain] - expected);
            assert!(off < 300, "{chosen:?}");
        }
        let mut last = robot.position(Instant::ZERO);
        for at in 1..1000 {
            let next = robot.position(Instant::from_micros(at * 100_000));
            // Where a wall reflects it, it is nearer to where it was.
            let speed_m_s = apart_m(next, last) / 0.1;
            assert!(speed_m_s <= 0.8 + 1e-6, "{speed_m_s}");
            last = next;
        }
    }
}
