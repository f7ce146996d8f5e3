//! Stories of single operations, and the model against its naive twin.

use super::naive::Naive;
use super::script::{check, id};
use super::{Counts, Model};
use crate::id::{ConnId, Key, MessageId};
use crate::store::arbitrary::{inventory, ops, time_of};
use crate::store::judge::Judge;
use crate::store::{
    Answer, Append, Appended, ClaimAnswer, Found, Node, Notice, Op, Promise, QueueAnswer,
};
use crate::time::Time;
use bytes::Bytes;
use proptest::prelude::{ProptestConfig, Strategy, TestCaseError, proptest};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

#[test]
fn append_is_idempotent_by_id() {
    let model = check(
        "append 1 x            => at 1
         append 2 x limit=1    => at 2 evicted 1
         append 2 other        => at 2
         append 1 x            => at 1
         append 2 x limit=1    => at 2
         remove 2              => removed 2, withdrawn 0
         append 2 x            => at 3
         load                  => loaded 2, tail 3, deaths 1",
    );
    let expect = Counts {
        waiting: 1,
        dead: 1,
        appended: 3,
        repeated: 3,
        removed: 1,
        died: 1,
        ..Counts::default()
    };
    assert_eq!(model.counts(), expect);
}

#[test]
fn append_buries_the_oldest_beyond_the_limit() {
    check(
        "append 1 a                       => at 1
         append 2 b                       => at 2
         append 3 c                       => at 3
         append 4 d limit=3               => at 4 evicted 1
         append 5 e limit=2 at=7          => at 5 evicted 2 3
         append 6 f limit=1 window_end=4  => at 6 evicted 5
         append 7 g limit=2 window_end=4  => at 7
         append 8 h limit=3 window_end=99 => at 8 evicted 4
         append 9 i limit=1 window_end=6 spare=3   => at 9
         append 10 j limit=1 window_end=7 spare=1  => at 10 evicted 8 9
         append 11 k limit=1 window_end=99 spare=1 => at 11 evicted 7 10
         append 12 l limit=0 spare=9      => at 12
         append 13 m limit=0              => at 13 evicted 6 11 12 13
         append 14 z key=other limit=0    => at 14 evicted 14
         load                             => loaded, tail none, deaths 13",
    );
}

#[test]
fn append_merges_with_the_last_waiting_message_only() {
    check(
        "append 1 x at=10                        => at 1
         append 2 x at=15 merge=5                => merged into 1
         append 3 x at=16 merge=5                => at 2
         append 4 x at=16                        => at 3
         append 5 y at=16 merge=5                => at 4
         append 6 x at=16 merge=5                => at 5
         append 7 x at=16 merge=5 window_end=6   => at 6
         append 8 x at=16 merge=5 window_end=6   => merged into 7
         append 9 x at=3 merge=0                 => merged into 7
         remove 7                                => removed 7, withdrawn 0
         append 10 x at=16 merge=5 key=other     => at 7
         append 11 x at=16 merge=5 window_end=99 => merged into 6",
    );
}

#[test]
fn append_knows_idempotency_names_for_their_window() {
    check(
        "append 1 x name=n window=5 at=10 promise=ok   => at 1
         append 2 x name=n window=99 at=15             => duplicate of 1 Ok
         append 3 y name=n window=5 at=15              => conflict
         append 4 x name=n window=5 at=15 key=other    => at 2
         remove 1                                      => removed 1, withdrawn 0
         append 1 x name=n window=5 at=15              => duplicate of 1 Ok
         append 5 y name=n window=5 at=16              => at 3
         append 6 y name=m window=5 at=16 merge=1      => merged into 5
         append 7 y name=m window=5 at=16              => duplicate of 5 Queued
         append 5 y name=m window=5 at=16              => at 3",
    );
}

#[test]
fn load_stops_at_its_limits() {
    check(
        "load                  => loaded, tail none, deaths 0
         append 1 aaaa         => at 1
         append 2 bbbb         => at 2
         append 3 cccc         => at 3
         load                  => loaded 1 2 3, tail 3, deaths 0
         load limit=2          => loaded 1 2, tail 3, deaths 0
         load limit=0          => loaded, tail 3, deaths 0
         load bytes=0          => loaded 1, tail 3, deaths 0
         load bytes=4          => loaded 1, tail 3, deaths 0
         load bytes=5          => loaded 1 2, tail 3, deaths 0
         load key=other        => loaded, tail none, deaths 0",
    );
}

#[test]
fn remove_withdraws_dead_letters_and_counts_the_unknown() {
    let model = check(
        "append 1 x          => at 1
         append 2 x          => at 2
         append 3 x          => at 3
         bury 2              => buried 2
         remove 3 2 2 9      => removed 3 2 2 9, withdrawn 1
         remove 1 key=other  => removed 1, withdrawn 0
         list                => listed
         load                => loaded 1, tail 1, deaths 1",
    );
    let Counts { waiting, dead, removed, withdrawn, absent, .. } = model.counts();
    assert_eq!((waiting, dead, removed, withdrawn, absent), (1, 0, 2, 1, 3));
}

#[test]
fn retry_never_lowers_tries() {
    check(
        "append 1 x                         => at 1
         retry 1 9 tries=2 not_before=5     => retried
         load                               => loaded 1(2 tries, 5), tail 1, deaths 0
         retry 1 tries=2 not_before=9       => retried
         retry 1 tries=1 not_before=9       => retried
         retry 1 tries=7 key=other          => retried
         load                               => loaded 1(2 tries, 5), tail 1, deaths 0
         retry 1 tries=3 not_before=4       => retried
         load                               => loaded 1(3 tries, 4), tail 1, deaths 0",
    );
}

#[test]
fn expire_lists_in_order_and_changes_nothing() {
    check(
        "append 1 a expires=9             => at 1
         append 2 b expires=5             => at 2
         append 3 c expires=5 key=other   => at 3
         append 4 d expires=20            => at 4
         append 5 e expires=1             => at 5
         expire at=9                      => expired 1/5 5/2 5/3 9/1
         expire at=8 limit=2              => expired 1/5 5/2
         expire at=8 after=5/2            => expired 5/3
         remove 5                         => removed 5, withdrawn 0
         bury 2                           => buried 2
         expire at=9                      => expired 5/3 9/1
         requeue 2 expires=9              => requeued 2
         expire at=9                      => expired 5/3 9/1 9/2
         append 5 e expires=1             => at 6
         expire at=9                      => expired 1/5 5/3 9/1 9/2",
    );
}

#[test]
fn dead_letters_are_listed_in_order_of_death() {
    check(
        "append 1 a                       => at 1
         append 2 b                       => at 2
         append 3 c key=other             => at 3
         append 4 d expires=5             => at 4
         bury 4 9 at=5 reason=ttl         => buried 4
         bury 1 3 at=5                    => buried 1
         bury 3 at=3 key=other            => buried 3
         bury 4 at=9                      => buried
         list                             => listed 3/3 tries 5/1 tries 5/4 ttl
         list limit=1                     => listed 3/3 tries
         list after=5/1                   => listed 5/4 ttl
         list key=k                       => listed 5/1 tries 5/4 ttl
         list key=k after=5/1             => listed 5/4 ttl
         list key=k reason=tries          => listed 5/1 tries
         list until=4                     => listed 3/3 tries
         list key=k until=4               => listed",
    );
}

#[test]
fn requeue_restores_places_and_keeps_history() {
    check(
        "append 1 a                       => at 1
         append 2 b                       => at 2
         retry 1 tries=5 not_before=7     => retried
         bury 2 1 at=5                    => buried 2 1
         append 3 c                       => at 3
         requeue 9 1 key=other            => requeued
         requeue expires=8                => requeued 1 2
         load                             => loaded 1 2 3, tail 3, deaths 2
         bury 1 at=9 reason=ttl           => buried 1
         list                             => listed 9/1 ttl (before: 5 tries)
         requeue 1 1 expires=8            => requeued 1
         bury 1 at=10 reason=limit        => buried 1
         list          => listed 10/1 limit (before: 5 tries) (before: 9 ttl)
         remove 1                         => removed 1, withdrawn 1
         append 1 a                       => at 4
         bury 1 at=11                     => buried 1
         list                             => listed 11/1 tries",
    );
}

#[test]
fn only_what_has_expired_is_buried_for_its_age() {
    check(
        "append 1 a expires=5             => at 1
         append 2 b expires=6             => at 2
         append 3 c expires=9             => at 3
         expire at=6                      => expired 5/1 6/2
         bury 1 at=6                      => buried 1
         requeue 1 expires=20             => requeued 1
         bury 1 2 3 at=6 reason=ttl       => buried 2
         load                             => loaded 1 3, tail 3, deaths 2
         bury 1 at=20 reason=ttl          => buried 1
         bury 3 at=6 reason=tries         => buried 3",
    );
}

#[test]
fn purge_and_trim_drop_the_oldest() {
    let model = check(
        "append 1 a                       => at 1
         append 2 b expires=3             => at 2
         append 3 c                       => at 3
         append 4 d expires=1             => at 4
         bury 4 at=1 reason=ttl           => buried 4
         bury 3 at=2                      => buried 3
         bury 2 at=3 reason=ttl           => buried 2
         purge reason=ttl limit=1         => purged 1
         purge until=1                    => purged 0
         trim keep=2                      => purged 0
         trim keep=0 limit=1              => purged 1
         list                             => listed 3/2 ttl
         trim keep=0                      => purged 1
         load                             => loaded 1, tail 1, deaths 3",
    );
    assert_eq!((model.counts().purged, model.counts().dead), (3, 0));
}

#[test]
fn queues_are_listed_in_order_of_key_and_position() {
    check(
        "append 1 aaa at=5 key=b     => at 1
         append 2 bb at=6 key=b      => at 2
         append 3 c at=7 key=a       => at 3
         append 4 d at=8 key=ba      => at 4
         append 5 e at=9 key=b       => at 5
         bury 2 key=b at=10          => buried 2
         keys                        => keys a (1, 1 bytes, 7) b (2, 4 bytes, 5) ba (1, 1 bytes, 8)
         keys after=a limit=1        => keys b (2, 4 bytes, 5)
         keys prefix=b after=b       => keys ba (1, 1 bytes, 8)
         totals                      => 4 waiting, 1 dead
         messages key=b              => messages 1 5
         messages key=b after=1      => messages 5
         messages key=b bytes=3      => messages 1
         messages key=b bytes=4      => messages 1 5
         messages key=b limit=1      => messages 1
         requeue 2 key=b expires=99  => requeued 2
         messages key=b              => messages 1 2 5
         messages                    => messages",
    );
}

#[test]
fn clear_spares_what_is_being_delivered() {
    let model = check(
        "append 1 a                     => at 1
         append 2 b                     => at 2
         append 3 c                     => at 3
         append 4 d name=n window=5     => at 4
         append 5 e                     => at 5
         clear 3 1 2 3 9 spare=1        => cleared 3 2
         clear 5 key=other              => cleared
         clear spare=1,9 limit=1        => cleared 4
         append 4 d name=n window=5     => duplicate of 4 Queued
         clear limit=0                  => cleared
         clear                          => cleared 1 5
         load                           => loaded, tail none, deaths 0",
    );
    let Counts { appended, cleared, waiting, purged, .. } = model.counts();
    assert_eq!((appended, cleared, waiting, purged), (5, 5, 0, 0));
}

#[test]
fn clear_forgets_earlier_deaths() {
    check(
        "append 1 a           => at 1
         bury 1 at=5          => buried 1
         requeue 1 expires=9  => requeued 1
         clear 1              => cleared 1
         append 1 a           => at 2
         bury 1 at=6          => buried 1
         list                 => listed 6/1 tries",
    );
}

#[test]
fn find_tells_where_a_message_is() {
    check(
        "append 1 a                        => at 1
         append 2 b name=n window=5 at=10 expires=15 => at 2
         append 3 b name=m window=5 at=12 merge=5 => merged into 2
         retry 2 tries=3 not_before=20     => retried
         find 1                            => waiting 1 (0 tries)
         find 1 key=other                  => unknown
         find 9                            => unknown
         find name=n at=15                 => waiting 2 (3 tries)
         find name=m at=15                 => waiting 2 (3 tries)
         find name=n at=16                 => unknown
         find name=n at=15 key=other       => unknown
         bury 2 at=15 reason=ttl           => buried 2
         find name=n at=15                 => dead 2 ttl
         find 2                            => dead 2 ttl
         find 2 key=other                  => unknown
         list id=1                         => listed
         list id=2                         => listed 15/2 ttl
         purge id=2                        => purged 1
         find name=n at=15                 => gone 2
         find 2                            => unknown",
    );
}

#[test]
fn the_newest_claim_wins_and_a_dead_node_holds_nothing() {
    let model = check(
        "claim a1 at=1            => epoch 1 after 0
         claim b1 at=1            => epoch 2 after 1
         renew b1 at=1 until=10   => renewed
         renew b1 at=1 until=5    => renewed
         claim b1 at=9            => epoch 3 after 2
         claim b2 at=9            => epoch 4 after 3
         renew b2 at=9 until=20   => renewed
         release epoch=3          => current: false
         claim a1 at=20           => epoch 5 after 4
         release epoch=5          => current: true
         release epoch=5          => current: false
         renew a1 at=21 until=30  => renewed
         claim a1 at=22           => epoch 6 after 0",
    );
    let node = Node { name: "a".into(), incarnation: 1 };
    for (key, at, expect) in [("k", 29, Some(&node)), ("k", 30, None), ("other", 29, None)] {
        assert_eq!(model.holder(&Key::new(key), Time::from_micros(at)), expect, "{key} at {at}");
    }
}

#[test]
fn who_keeps_a_key_does_not_take_it() {
    check(
        "renew a1 at=1 until=10   => renewed
         claim a1 at=1            => epoch 1 after 0
         keep a1 at=2             => epoch 1 after 1
         keep b1 at=2             => taken
         claim b1 at=2            => epoch 2 after 1
         keep a1 at=3             => epoch 3 after 2
         keep b1 at=9             => taken
         keep b1 at=10            => epoch 4 after 3",
    );
}

#[test]
fn only_the_current_claim_decides_what_becomes_of_messages() {
    let model = check(
        "append 1 a                          => at 1
         renew a1 at=1 until=10              => renewed
         claim a1 at=1                       => epoch 1 after 0
         bury 1 at=2                         => buried
         retry 1 tries=1 not_before=3        => retried
         retry 1 tries=2 not_before=4 epoch=1 => retried
         load                                => loaded 1(2 tries, 4), tail 1, deaths 0
         claim b1 at=2                       => epoch 2 after 1
         bury 1 at=3 epoch=1                 => buried
         retry 1 tries=3 not_before=5 epoch=1 => retried
         load                                => loaded 1(2 tries, 4), tail 1, deaths 0
         bury 1 at=3                         => buried 1
         release epoch=2                     => current: true
         append 2 b                          => at 2
         retry 2 tries=1 not_before=3        => retried
         bury 2 at=3                         => buried 2",
    );
    assert_eq!(model.counts().outdated, 4);
}

#[test]
fn a_push_for_a_key_of_another_node_leaves_the_window_alone_and_tells_it() {
    let mut model = check(
        "renew a1 at=1 until=10                        => renewed
         claim a1 at=1                                 => epoch 1 after 0
         append 1 a at=2 merge=9 epoch=1               => at 1
         append 2 a at=2 merge=9 epoch=1               => merged into 1
         append 3 a at=2 merge=9 limit=2               => elsewhere at 2 evicted
         append 4 b at=2 limit=1 window_end=3          => elsewhere at 3 evicted 3
         append 5 c at=2 limit=1                       => elsewhere at 4 evicted 4
         append 6 d at=2 limit=0                       => elsewhere at 5 evicted 1 5 6
         requeue 6 expires=9                           => requeued 6
         append 7 e at=10                              => at 6
         claim b1 at=10                                => epoch 2 after 1
         renew b1 at=10 until=20                       => renewed
         claim a1 at=11                                => epoch 3 after 2
         release epoch=3                               => current: true",
    );
    let told: Vec<_> = model
        .take_notices()
        .into_iter()
        .map(|(node, notice)| format!("{}: {notice:?}", node.name))
        .collect();
    let stored = format!("a: {:?}", Notice::MessageStored(Key::new("k")));
    let taken =
        |node, epoch| format!("{node}: {:?}", Notice::KeyTaken { key: Key::new("k"), epoch });
    let freed = format!("b: {:?}", Notice::KeyFreed(Key::new("k")));
    // The last two when its lease is over: it may not know that.
    assert_eq!(told[..6], vec![stored; 6]);
    assert_eq!(told[6..], [taken("a", 2), taken("b", 3), freed]);
}

#[test]
fn what_a_node_may_have_confirmed_is_not_merged_with_by_others() {
    let mut model = check(
        "renew a1 at=1 until=3                         => renewed
         claim a1 at=1                                 => epoch 1 after 0
         append 1 a at=1 epoch=1                       => at 1
         append 2 a at=5 merge=9                       => at 2
         release epoch=1                               => current: true
         append 3 a at=6 merge=9                       => merged into 2",
    );
    assert_eq!(model.take_notices().len(), 1, "the claim's node is told of what others store");
}

#[test]
fn a_duplicate_of_another_node_is_told_to_it() {
    let mut model = check(
        "renew a1 at=1 until=9                                => renewed
         claim a1 at=1                                        => epoch 1 after 0
         append 1 x name=n window=5 at=1 epoch=1 promise=ok   => at 1
         append 2 x name=n window=5 at=2                      => duplicate of 1 Ok",
    );
    let told: Vec<_> = model.take_notices().into_iter().map(|(_, notice)| notice).collect();
    assert_eq!(told, [Notice::MessageStored(Key::new("k"))]);
}

#[test]
fn a_node_that_takes_its_own_key_again_still_knows_whom_it_had_it_from() {
    let mut model = check(
        "renew a1 at=1 until=9                         => renewed
         renew b1 at=1 until=9                         => renewed
         claim a1 at=1                                 => epoch 1 after 0
         claim b1 at=2                                 => epoch 2 after 1
         claim b1 at=3                                 => epoch 3 after 2
         release epoch=3                               => current: true",
    );
    let (key, epoch) = (Key::new("k"), 2);
    let told: Vec<_> = model.take_notices().into_iter().map(|(_, notice)| notice).collect();
    assert_eq!(told, [Notice::KeyTaken { key: key.clone(), epoch }, Notice::KeyFreed(key)]);
}

#[test]
fn sessions_are_replaced_and_expire() {
    check(
        "get s at=1            => none
         put s one expires=5   => kept
         put s two expires=9   => kept
         put t six expires=5   => kept
         get s at=5            => found two
         get t at=5            => none
         get s at=9            => none",
    );
}

#[test]
fn a_session_to_which_more_was_applied_stays_until_it_expires() {
    check(
        "put s two applied=2 at=1 expires=5     => kept
         put s one applied=1 at=2 expires=9     => kept
         get s at=3                             => found two
         put s other applied=2 at=3 expires=6 deaths=2 => kept
         get s at=4                             => found other
         put s untold applied=2 at=4 expires=6 deaths=1 => kept
         get s at=4                             => found other
         put s one applied=1 at=6 expires=9     => kept
         get s at=7                             => found one",
    );
}

#[test]
fn devices_are_linked_and_log() {
    let model = check(
        "link d slot=1    => kept
         link d slot=2    => kept
         unlink d slot=1  => kept
         link f slot=3    => kept
         unlink f slot=3  => kept
         unlink g slot=3  => kept
         log d one        => kept
         log e two        => kept",
    );
    assert_eq!(model.device_link("d"), Some(ConnId { slot: 2, generation: 0 }));
    assert_eq!(model.device_link("e"), None);
    assert_eq!(model.device_link("f"), None);
    assert_eq!(model.device_log().map(|it| &*it.entry).collect::<Vec<_>>(), ["one", "two"]);
}

#[test]
fn the_device_log_is_read_and_dropped_by_number() {
    check(
        "log d 12345 limit=12     => kept
         log e 12345 limit=12     => kept
         log f x limit=12         => full
         read                     => 1 d 12345, 2 e 12345
         read limit=1             => 1 d 12345
         read bytes=6             => 1 d 12345
         read bytes=7             => 1 d 12345, 2 e 12345
         read after=1             => 2 e 12345
         read after=2             => none
         take through=0           => 0
         take through=1           => 1
         read                     => 2 e 12345
         log f 12345 limit=12     => kept
         take through=9 limit=1   => 1
         take through=9           => 1
         take through=9           => 0
         log g y                  => kept
         read                     => 4 g y",
    );
}

#[test]
fn a_message_is_found_where_it_is() {
    let model = check(
        "append 1 a  => at 1
         append 2 b  => at 2
         append 3 c  => at 3
         bury 2      => buried 2",
    );
    let key = Key::new("k");
    let counters = |ids: Vec<MessageId>| ids.iter().map(|id| id.counter).collect::<Vec<_>>();
    assert_eq!(counters(model.waiting(&key).map(|it| it.id).collect()), [1, 3]);
    assert_eq!(counters(model.dead_letters().map(|it| it.message.id).collect()), [2]);
    assert_eq!(model.find(id(3)).map(|(key, it)| (&**key, it.position)), Some(("k", 3)));
    assert_eq!(model.find(id(2)), None);
    assert_eq!(model.deaths(&key), 1);
}

#[test]
fn emptied_mailboxes_leave_nothing_behind() {
    let mut model = Model::new(1);
    for counter in 0..5_000 {
        let key = Key::new(format!("key-{counter}"));
        let answer = model.apply(Op::Append(plain(key.clone(), id(counter))));
        let Answer::Appended(Appended::Stored { .. }) = answer else { panic!("{answer:?}") };
        if counter >= 3_000 {
            model.apply(Op::Remove { key, ids: vec![id(counter)] });
        }
    }
    for counter in 0..3_000 {
        let key = Key::new(format!("key-{counter}"));
        model.apply(Op::Remove { key, ids: vec![id(counter)] });
    }
    model.check();
    assert_eq!(model.waiting.mailboxes(), (0, 3_001));
}

fn plain(key: Key, id: MessageId) -> Append {
    Append {
        key,
        id,
        payload: Bytes::from_static(b"payload"),
        accepted_at: Time::EPOCH,
        expires_at: Time::NEVER,
        promise: Promise::Queued,
        idempotency: None,
        merge_within: None,
        limit: 10,
        window_end: None,
        spare: 0,
        epoch: 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn naive_store_answers_the_same(ops in ops(1..400)) {
        let (mut judge, mut naive) = (Judge::new(), Naive::default());
        let end = ops.iter().filter_map(time_of).max().unwrap_or(Time::EPOCH);
        for op in ops.into_iter().chain(inventory(end)) {
            let answer = naive.apply(judge.translate(&op));
            judge.verdict(&op, &answer).map_err(TestCaseError::fail)?;
            judge.model().check();
        }
    }
}

/// Random sequences prove nothing about what they never reach.
#[test]
fn random_sequences_reach_every_outcome() {
    let mut runner = TestRunner::deterministic();
    let (mut counts, mut answers) = ([0; 12], [0; 10]);
    for _ in 0..20 {
        let mut model = Model::new(1);
        for op in ops(400).new_tree(&mut runner).unwrap().current() {
            let answer = model.apply(op);
            if let Answer::Appended(Appended::Elsewhere { evicted, .. }) = &answer {
                answers[8] += usize::from(!evicted.is_empty());
            } else if answer == Answer::Claim(ClaimAnswer::Taken) {
                answers[9] += 1;
            } else if let Answer::Appended(Appended::Stored { evicted, .. }) = &answer {
                answers[0] += usize::from(evicted.len() > 1);
            } else if let Answer::Expired(expired) = &answer {
                answers[1] += expired.len();
            } else if let Answer::Claim(ClaimAnswer::Claimed { epoch, previous }) = &answer {
                answers[2] += usize::from(epoch == previous);
            } else if answer == Answer::Claim(ClaimAnswer::Released(true)) {
                answers[3] += 1;
            } else if let Answer::Queue(QueueAnswer::Messages(messages)) = &answer {
                answers[4] += usize::from(messages.len() > 1);
            } else if let Answer::Found(found) = &answer {
                match **found {
                    Found::Waiting(_) => answers[5] += 1,
                    Found::Dead(_) => answers[6] += 1,
                    Found::Gone(_) => answers[7] += 1,
                    Found::Unknown => {}
                }
            }
        }
        let it = model.counts();
        let (pushes, ends) = (
            [it.appended, it.merged, it.duplicates, it.conflicts, it.repeated],
            [it.removed, it.withdrawn, it.absent, it.requeued, it.purged, it.cleared, it.outdated],
        );
        let all = pushes.into_iter().chain(ends);
        counts.iter_mut().zip(all).for_each(|(total, count)| *total += count);
    }
    assert!(counts.iter().all(|count| *count >= 20), "{counts:?}");
    assert!(answers.iter().all(|count| *count >= 10), "{answers:?}");
}
