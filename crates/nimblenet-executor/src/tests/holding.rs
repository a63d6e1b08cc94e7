//! An executor that holds its modules, and gets its work in parcels.

use alloc::rc::Rc;

use nimblenet_tasklet::{Answer, Fixed, Parcel};

use super::*;
use crate::HoldingExecutor;

const ACTIVATION: ActivationId = ActivationId(7);

/// A driver that makes one handle of its module and keeps it.
struct Driver<'m> {
    executor: HoldingExecutor<'m, Rc<[u8]>>,
    parcel: Parcel<Fixed<300>, Rc<[u8]>>,
    module: Rc<[u8]>,
    device: Device,
}

impl<'m> Driver<'m> {
    fn new(arena: &'m mut [u8], module: &[u8]) -> Self {
        Self {
            executor: HoldingExecutor::new(arena, options()),
            parcel: Parcel::new(Fixed::new()),
            module: module.into(),
            device: Device::default(),
        }
    }

    /// Packs `work` into the parcel, serves it, and empties the parcel.
    fn give(&mut self, work: Work<'_>) -> Option<Answer<Vec<u8>>> {
        let module = self.module.clone();
        let lend = |_: &[u8], _: Option<Digest>| module.clone();
        self.parcel.pack(work, lend);
        let check = |_: &[u8; 32], message: &[u8], _: &[u8; 64]| message == b"good";
        let mut out = [0; 256];
        let (parcel, device) = (&self.parcel, &mut self.device);
        let outcome = self.executor.serve(parcel, check, device, &mut out);
        let answer = outcome.map(|outcome| outcome.owned());
        self.parcel = Parcel::new(Fixed::new());
        answer
    }

    /// Whether the executor holds the module.
    fn holds(&self) -> bool {
        Rc::strong_count(&self.module) > 1
    }
}

fn called(answer: Option<Answer<Vec<u8>>>) -> Vec<i64> {
    match answer {
        Some(Answer::Called { args, .. }) => ints(&args),
        other => panic!("{other:?} is no call"),
    }
}

#[test]
fn a_module_is_held_from_the_start_of_a_run_to_its_end() {
    let tasklet = &chain()[1];
    let mut arena = vec![0; 16 << 10];
    let mut driver = Driver::new(&mut arena, &tasklet.code);
    let args = cbor(&[5]);
    let start = Work::Start(tasklet.start(ACTIVATION, &args, 10_000));
    assert_eq!(called(driver.give(start)), [5]);
    assert!(driver.holds());
    let resume = |result| Work::Resume {
        activation: ACTIVATION,
        result: Ok(result),
        fuel: 10_000,
    };
    let six = cbor(&[6]);
    assert_eq!(called(driver.give(resume(&six))), [11]);
    assert!(driver.holds());
    let twelve = cbor(&[12]);
    let Some(Answer::Done { result, .. }) = driver.give(resume(&twelve)) else {
        panic!("the run ends");
    };
    assert_eq!(ints(&result), [2012]);
    assert!(!driver.holds());
}

#[test]
fn the_module_of_a_run_that_is_stopped_or_frozen_is_let_go() {
    let tasklet = &chain()[1];
    let mut arena = vec![0; 16 << 10];
    let mut driver = Driver::new(&mut arena, &tasklet.code);
    let args = cbor(&[5]);
    let start = Work::Start(tasklet.start(ACTIVATION, &args, 10_000));
    let activation = ACTIVATION;
    for end in [
        Work::Stop { activation },
        Work::Freeze {
            activation,
            room: 4096,
        },
    ] {
        driver.give(start);
        assert!(driver.holds());
        // If the image is too long, the run stays, and so does its module.
        let kept = driver.give(Work::Freeze {
            activation,
            room: 1,
        });
        assert!(matches!(kept, Some(Answer::NotFrozen { .. })), "{kept:?}");
        assert!(driver.holds());
        let mut out = vec![0; 8192];
        let device = &mut driver.device;
        driver.executor.execute(&end, None, device, &mut out);
        assert!(!driver.holds(), "{end:?}");
    }
}

#[test]
fn work_that_does_not_fit_its_parcel_is_answered_and_leaves_nothing() {
    let tasklet = &chain()[1];
    let mut arena = vec![0; 16 << 10];
    let mut driver = Driver::new(&mut arena, &tasklet.code);
    let start = Work::Start(tasklet.start(ACTIVATION, &[0; 300], 10_000));
    let answer = driver.give(start);
    let refused = start.refused(Fault::ValuesTooLarge).map(|it| it.owned());
    assert_eq!(answer, refused);
    assert!(!driver.holds());
    assert_eq!(driver.executor.executor().activations(), 0);
}

#[test]
fn a_signature_is_checked_by_the_driver_s_function() {
    let mut arena = vec![0; 1024];
    let mut driver = Driver::new(&mut arena, &[]);
    for (message, good) in [(&b"good"[..], true), (b"bad", false)] {
        let (ticket, key, signature) = (3, [1; 32], [2; 64]);
        let answer = driver.give(Work::Verify {
            ticket,
            key,
            message,
            signature,
        });
        assert_eq!(answer, Some(Answer::Verified { ticket, good }));
    }
}
