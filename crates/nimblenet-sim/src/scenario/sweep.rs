//! Sweeps: the same experiment with several values of one parameter.

use core::str::FromStr;

use nimblenet_core::MIN_MTU;

use super::Scenario;
use crate::run::UnknownName;

/// Declares parameters with their names, and the values that a sweep has unless others are given.
macro_rules! parameters {
    ($($(#[$doc:meta])+ $name:ident $text:literal [$($value:expr),+],)+) => {
        /// A parameter that a sweep varies.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Parameter {
            $($(#[$doc])+ $name,)+
        }

        impl Parameter {
            /// The names, in the order of the variants.
            pub const NAMES: &'static [&'static str] = &[$($text),+];

            /// The name.
            pub const fn name(self) -> &'static str {
                Self::NAMES[self as usize]
            }

            fn values(self) -> Vec<f64> {
                match self {
                    $(Self::$name => vec![$($value as f64),+],)+
                }
            }
        }

        impl FromStr for Parameter {
            type Err = UnknownName;

            fn from_str(given: &str) -> Result<Self, UnknownName> {
                match given {
                    $($text => Ok(Self::$name),)+
                    _ => Err(UnknownName::new(given, Self::NAMES)),
                }
            }
        }
    };
}

parameters! {
    /// The share of calls to shared algorithms.
    Sharing "sharing" [0.0, 0.25, 0.5, 0.75, 1.0],
    /// The number of shared algorithms.
    Algorithms "algorithms" [7, 15, 50, 150, 500],
    /// The share of frames lost on each link.
    Loss "loss" [0.0, 0.01, 0.05, 0.1],
    /// How often a frame is repeated that a neighbour does not acknowledge.
    Repeats "repeats" [0, 1, 2, 4],
    /// Bytes of each node's cache.
    CacheBytes "cache-bytes" [8192, 16_384, 32_768, 65_536],
    /// The longest frame in bytes.
    Mtu "mtu" [MIN_MTU, 256, 512, 1024, 4096],
    /// The exponent of popularity.
    Zipf "zipf" [0.0, 0.5, 1.0, 1.5],
    /// What lengths of modules are multiplied by.
    SizeFactor "size-factor" [1, 2, 4, 8],
    /// The number of nodes; that of robots grows in proportion.
    Nodes "nodes" [6, 12, 24, 48],
    /// Whether a call begins only when all of its chain is here: 1, or 0.
    Preload "preload" [0, 1],
    /// Bits a second of each link.
    Bandwidth "bandwidth" [100_000, 250_000, 500_000, 1_000_000],
    /// How often each node goes down in an hour.
    Churn "churn" [0, 1, 4, 12],
    /// The greatest speed of robots, in metres per second.
    Speed "speed" [0.25, 1.0, 2.0, 4.0],
}

/// A parameter and its values.
#[derive(Clone, PartialEq, Debug)]
pub struct Sweep {
    /// The parameter.
    pub parameter: Parameter,
    /// The values, in order.
    pub values: Vec<f64>,
}

impl FromStr for Sweep {
    type Err = String;

    /// Reads `PARAMETER` or `PARAMETER=VALUE,VALUE`.
    fn from_str(given: &str) -> Result<Self, String> {
        let (name, values) = match given.split_once('=') {
            Some((name, values)) => (name, Some(values)),
            None => (given, None),
        };
        let parameter: Parameter = name
            .parse()
            .map_err(|error: UnknownName| error.to_string())?;
        let Some(values) = values else {
            let values = parameter.values();
            return Ok(Self { parameter, values });
        };
        let values = values.split(',').map(|value| {
            let number: Option<f64> = value.parse().ok();
            let number = number.filter(|number| number.is_finite());
            number.ok_or_else(|| format!("`{value}` is no number"))
        });
        let values = values.collect::<Result<Vec<f64>, _>>()?;
        for (at, value) in values.iter().enumerate() {
            let scenario = Scenario::default().with(parameter, *value);
            if scenario.value(parameter) != Some(*value) {
                let kind = if value.fract() == 0.0 {
                    "such a value"
                } else {
                    "fractions"
                };
                return Err(format!("{value}: {name} does not take {kind}"));
            }
            if values[..at].contains(value) {
                return Err(format!("{value} is there twice"));
            }
        }
        Ok(Self { parameter, values })
    }
}

impl Scenario {
    /// The same scenario with another value of one parameter. It may have to be
    /// [checked](Self::check).
    #[must_use]
    pub fn with(mut self, parameter: Parameter, value: f64) -> Self {
        match parameter {
            Parameter::Sharing => self.tasks.sharing = value,
            Parameter::Algorithms => self.tasks.algorithms = value as u32,
            Parameter::Loss => self.link.loss = value,
            Parameter::Repeats => self.link.repeats = value as u8,
            Parameter::CacheBytes => self.nodes.cache_bytes = value as u32,
            Parameter::Mtu => self.link.mtu = value as u16,
            Parameter::Zipf => self.tasks.zipf = value,
            Parameter::SizeFactor => self.tasks.size_factor = value,
            Parameter::Nodes => {
                let per_node = f64::from(self.robots.count) / f64::from(self.floor.nodes.max(1));
                self.floor.nodes = value as u16;
                self.robots.count = (per_node * value).round() as u32;
            }
            Parameter::Preload => self.nodes.preload = Some(value != 0.0),
            Parameter::Bandwidth => self.link.set_bits_per_s(value as u32),
            Parameter::Churn => self.nodes.crashes_per_h = value,
            Parameter::Speed => self.robots.speed_m_s = (self.robots.speed_m_s.0.min(value), value),
        }
        self
    }

    /// The value of a parameter; none if the scenario leaves it open.
    fn value(&self, parameter: Parameter) -> Option<f64> {
        Some(match parameter {
            Parameter::Sharing => self.tasks.sharing,
            Parameter::Algorithms => self.tasks.algorithms.into(),
            Parameter::Loss => self.link.loss,
            Parameter::Repeats => self.link.repeats.into(),
            Parameter::CacheBytes => self.nodes.cache_bytes.into(),
            Parameter::Mtu => self.link.mtu.into(),
            Parameter::Zipf => self.tasks.zipf,
            Parameter::SizeFactor => self.tasks.size_factor,
            Parameter::Nodes => self.floor.nodes.into(),
            Parameter::Preload => f64::from(u8::from(self.nodes.preload?)),
            Parameter::Bandwidth => self.link.bandwidth?.bits_per_s.into(),
            Parameter::Churn => self.nodes.crashes_per_h,
            Parameter::Speed => self.robots.speed_m_s.1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_a_name_with_or_without_values() {
        let sweep: Sweep = "sharing".parse().unwrap();
        assert_eq!(sweep.values, [0.0, 0.25, 0.5, 0.75, 1.0]);
        let sweep: Sweep = "cache-bytes=4096,8192".parse().unwrap();
        assert_eq!(sweep.parameter, Parameter::CacheBytes);
        assert_eq!(sweep.values, [4096.0, 8192.0]);
        let unknown = "weather".parse::<Sweep>().unwrap_err();
        assert!(
            unknown.starts_with("`weather` is not one of sharing, algorithms"),
            "{unknown}"
        );
        for (given, expected) in [
            ("mtu=300.5", "300.5: mtu does not take fractions"),
            ("mtu=70000", "70000: mtu does not take such a value"),
            ("preload=2", "2: preload does not take such a value"),
            ("loss=0.1,0.1", "0.1 is there twice"),
        ] {
            assert_eq!(given.parse::<Sweep>().unwrap_err(), expected);
        }
        assert_eq!("loss=1,x".parse::<Sweep>().unwrap_err(), "`x` is no number");
    }

    #[test]
    fn robots_grow_with_the_nodes_and_values_of_every_sweep_can_be() {
        let larger = Scenario::default().with(Parameter::Nodes, 48.0);
        assert_eq!((larger.floor.nodes, larger.robots.count), (48, 80));
        for name in Parameter::NAMES {
            let sweep: Sweep = name.parse().unwrap();
            for value in sweep.values {
                let scenario = Scenario::default().with(sweep.parameter, value);
                scenario.check().unwrap();
            }
        }
    }
}
