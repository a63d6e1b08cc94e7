use alloc::vec;

use super::*;
use crate::cache::{Disk, Eviction};
use crate::wire::HOLDINGS_BYTES;
use nimblenet_tasklet::Digest;

const DELAY: Duration = Duration::from_secs(20);
const SHOP: NamespaceId = NamespaceId(7);
const OWN: NodeId = NodeId(1);
const NEAR: NodeId = NodeId(2);
const OTHER: NodeId = NodeId(3);
const FAR: NodeId = NodeId(4);

fn tasklet(number: u16) -> TaskletRef {
    TaskletRef {
        namespace: SHOP,
        number,
        sequence: 1,
    }
}

fn at(second: u64) -> Instant {
    Instant::from_micros(second * 1_000_000)
}

fn holders(limit: usize) -> Holders {
    Holders::new(limit, 8, Some(DELAY), Random::new(1))
}

/// A cache that holds the tasklets with these numbers.
fn cache(numbers: &[u16]) -> Cache {
    let mut cache = Cache::new(Disk::allocate(9000), 9000, 64, Eviction::LFU.make);
    for number in numbers {
        let module = [*number as u8; 4];
        let slot = cache.begin(tasklet(*number), 4, at(0)).unwrap();
        cache.write(slot, 0, &module);
        assert!(cache.finish(slot, &Digest::of(&module)));
    }
    cache
}

/// Everything that `from` tells from now on, as far as `to` hears it.
fn tell(from: &mut Holders, (id, cache): (NodeId, &Cache), to: &mut Holders, to_id: NodeId) -> u32 {
    let (mut now, mut told) = (at(100), 0);
    from.notice(now, cache);
    while let Some(due) = from.poll_timeout() {
        now = now.max(due);
        let mut space = [0; HOLDINGS_BYTES];
        if let Some(holdings) = from.poll(now, cache, &mut space) {
            to.handle(now, (to_id, id), (told, 1200), &holdings);
            told += 1;
        }
    }
    told
}

fn nearest(holders: &Holders, number: u16) -> Option<(NodeId, u8)> {
    let source = holders.nearest(tasklet(number), None, |_| 0);
    source.map(|source| (source.id, source.hops))
}

#[test]
fn a_neighbour_and_the_node_behind_it_are_known_and_the_nearer_is_asked() {
    let (mut far, mut near, mut own) = (holders(30), holders(30), holders(30));
    tell(&mut far, (FAR, &cache(&[1, 40])), &mut near, NEAR);
    tell(&mut near, (NEAR, &cache(&[40])), &mut own, OWN);
    assert_eq!(nearest(&own, 1), Some((FAR, 2)));
    assert_eq!(nearest(&own, 40), Some((NEAR, 1)));
    assert_eq!(nearest(&own, 2), None);
    let avoided = own.nearest(tasklet(40), Some(NEAR), |_| 0).map(|it| it.id);
    assert_eq!(avoided, Some(FAR));
    let nearby = own.nearby(tasklet(40), Some(5));
    assert_eq!((nearby.copies, nearby.hops), (Some(2), Some(1)));
    let nowhere = own.nearby(tasklet(2), Some(5));
    assert_eq!((nowhere.copies, nowhere.hops), (Some(0), Some(5)));
    // What is three links away is not passed on.
    let mut third = holders(30);
    tell(&mut own, (OWN, &cache(&[])), &mut third, OTHER);
    assert_eq!(nearest(&third, 1), None);
    assert_eq!(nearest(&third, 40), Some((NEAR, 2)));
}

#[test]
fn a_change_is_told_once_and_waits_for_others() {
    let (mut near, mut own) = (holders(30), holders(30));
    let held = cache(&[1, 2, 40]);
    assert_eq!(tell(&mut near, (NEAR, &held), &mut own, OWN), 1);
    near.notice(at(200), &held);
    assert_eq!(near.poll_timeout(), None, "nothing has changed");
    let mut more = held;
    more.remove(more.find(tasklet(2)).unwrap());
    near.notice(at(200), &more);
    let due = near.poll_timeout().unwrap();
    assert!(due >= at(210) && due <= at(220), "{due}");
    tell(&mut near, (NEAR, &more), &mut own, OWN);
    assert_eq!(
        (nearest(&own, 1), nearest(&own, 2)),
        (Some((NEAR, 1)), None)
    );
}

#[test]
fn many_pages_take_several_messages_and_all_arrive() {
    let (mut near, mut own) = (holders(90), holders(90));
    let numbers: Vec<u16> = (0..30).map(|page| page * 32).collect();
    assert!(tell(&mut near, (NEAR, &cache(&numbers)), &mut own, OWN) > 1);
    assert!(
        numbers
            .iter()
            .all(|number| nearest(&own, *number) == Some((NEAR, 1)))
    );
}

#[test]
fn a_full_table_takes_no_more_and_keeps_what_it_has() {
    let (mut near, mut own) = (holders(90), holders(3));
    let numbers: Vec<u16> = (0..10).map(|page| page * 32).collect();
    tell(&mut near, (NEAR, &cache(&numbers)), &mut own, OWN);
    assert_eq!(own.pages.len(), 3);
    let known = numbers
        .iter()
        .filter(|number| nearest(&own, **number).is_some());
    assert_eq!(known.count(), 3);
}

#[test]
fn a_neighbour_that_has_gone_is_forgotten_with_what_it_told_and_a_newcomer_is_told_all() {
    let (mut far, mut near, mut own) = (holders(30), holders(30), holders(30));
    tell(&mut far, (FAR, &cache(&[1])), &mut near, NEAR);
    tell(&mut near, (NEAR, &cache(&[40])), &mut own, OWN);
    own.handle_neighbours(|id| id == NEAR);
    assert_eq!(nearest(&own, 1), Some((FAR, 2)));
    let mut late = holders(30);
    near.handle_newcomer(at(300));
    tell(&mut near, (NEAR, &cache(&[40])), &mut late, OTHER);
    assert_eq!(
        (nearest(&late, 1), nearest(&late, 40)),
        (Some((FAR, 2)), Some((NEAR, 1)))
    );
    own.handle_neighbours(|_| false);
    assert_eq!((nearest(&own, 1), nearest(&own, 40)), (None, None));
}

#[test]
fn a_refusal_and_a_request_that_passes_are_remembered_until_the_next_news() {
    let (mut near, mut own) = (holders(30), holders(30));
    let held = cache(&[1, 40]);
    tell(&mut near, (NEAR, &held), &mut own, OWN);
    own.forget(NEAR, tasklet(1));
    own.note(NEAR, tasklet(2));
    own.note(FAR, tasklet(3));
    assert_eq!(nearest(&own, 1), None);
    assert_eq!(nearest(&own, 2), Some((NEAR, 1)));
    assert_eq!(nearest(&own, 3), None, "nobody has told where that node is");
    near.handle_newcomer(at(300));
    tell(&mut near, (NEAR, &held), &mut own, OWN);
    assert_eq!(
        (nearest(&own, 1), nearest(&own, 2)),
        (Some((NEAR, 1)), None)
    );
}

#[test]
fn a_node_that_tells_nothing_is_quiet() {
    let mut holders = Holders::new(30, 8, None, Random::new(1));
    holders.notice(at(1), &cache(&[1]));
    holders.handle_newcomer(at(2));
    assert_eq!(holders.poll_timeout(), None);
}

#[test]
fn of_equally_near_holders_the_one_that_has_sent_least_is_asked() {
    let (mut near, mut other, mut own) = (holders(30), holders(30), holders(30));
    let held = cache(&[1]);
    tell(&mut near, (NEAR, &held), &mut own, OWN);
    tell(&mut other, (OTHER, &held), &mut own, OWN);
    let mut asked = Vec::new();
    for bytes in [300, 100, 100, 300] {
        let (source, _) = nearest(&own, 1).unwrap();
        asked.push(source);
        own.note_source(source, bytes);
        // What a neighbour tells does not make it forget what the neighbour has sent.
        other.handle_newcomer(at(300));
        tell(&mut other, (OTHER, &held), &mut own, OWN);
    }
    assert_eq!(asked, [NEAR, OTHER, OTHER, OTHER]);
    // One that has sent nothing for long is as good as others.
    for _ in 0..1000 {
        own.note_source(OTHER, 0);
    }
    let sent: Vec<u32> = own.peers.iter().map(|peer| peer.sent).collect();
    assert!(sent.iter().all(|sent| *sent < 64), "{sent:?}");
}

#[test]
fn native_tasklets_of_a_device_are_told_of_as_modules_are_and_soon() {
    let (mut one, mut two) = (holders(16), holders(16));
    let empty = cache(&[]);
    one.set_natives(at(1), vec![tasklet(5), tasklet(40)]);
    let due = one.poll_timeout().expect("there is something to tell");
    assert!(due < at(1) + DELAY / 8, "{due:?}");
    tell(&mut one, (OWN, &empty), &mut two, NEAR);
    let known = |two: &Holders| [5, 6, 40].map(|number| two.holds(OWN, tasklet(number)));
    assert_eq!(known(&two), [true, false, true]);
    one.set_natives(at(200), vec![tasklet(40)]);
    tell(&mut one, (OWN, &empty), &mut two, NEAR);
    assert_eq!(known(&two), [false, false, true]);
    let before = one.poll_timeout();
    one.set_natives(at(300), vec![tasklet(40)]);
    assert_eq!(one.poll_timeout(), before, "nothing has changed");
    one.handle_newcomer(at(400));
    assert!(one.poll_timeout().is_some(), "a newcomer is told too");
}
