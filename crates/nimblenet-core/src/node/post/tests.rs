use super::*;
use crate::node::stage::{NEAR, REGISTRY, STRANGER, Stage};

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_question_is_given_up_after_six_askings_without_an_answer() {
    let mut now = Instant::ZERO;
    let mut ask = Ask::new(now);
    assert!(ask.is_due(now));
    for _ in 0..6 {
        assert!(!ask.is_exhausted());
        ask.asked(now, MS);
        assert!(!ask.is_due(now));
        now += MS;
        assert!(ask.is_due(now));
    }
    assert!(ask.is_exhausted());
    ask.answered(now, 8 * MS);
    assert_eq!((ask.due(), ask.is_exhausted()), (now + 8 * MS, false));
    (0..6).for_each(|_| ask.asked(now, MS));
    ask.renew();
    assert_eq!((ask.due(), ask.is_exhausted()), (now + MS, false));
}

#[test]
fn patience_is_there_and_back_half_as_much_again_and_one_hop() {
    let mut stage = Stage::new();
    let post = stage.post();
    let hop = post.config.pace.hop;
    assert_eq!(
        [0, 1, 2].map(|hops| post.patience(hops)),
        [4 * hop, 4 * hop, 7 * hop]
    );
    assert_eq!(post.patience_for(NEAR), 4 * hop);
    assert_eq!(post.patience_for(REGISTRY), 7 * hop);
    assert_eq!(post.patience_for(STRANGER), post.config.pace.global_search);
    assert_eq!(post.working_patience_for(NEAR), 32 * hop);
}

#[test]
fn request_numbers_follow_each_other_whoever_takes_them() {
    let mut stage = Stage::new();
    stage.ground.last_request = u16::MAX - 1;
    let numbers = [(); 3].map(|()| stage.post().new_request());
    assert_eq!(numbers, [u16::MAX, 0, 1]);
}
