use super::*;
use std::time::Duration;

fn slots(most: usize, fast: usize, queue: usize) -> Arc<Slots<&'static str>> {
    Slots::new(most, fast, queue)
}

/// Slots in use, requests that wait.
fn load<C>(slots: &Slots<C>) -> (usize, usize) {
    let load = slots.load();
    (load.in_use, load.waiting)
}

fn peer(number: u8) -> Digest {
    Digest::from_bytes([number; 20])
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[tokio::test(start_paused = true)]
async fn never_more_than_the_slots_and_first_in_first_out() {
    let slots = slots(2, 0, 100);
    let a = slots.take(peer(1), Lane::Slow, soon()).await.unwrap();
    let _b = slots.take(peer(1), Lane::Fast, soon()).await.unwrap();
    let (order, mut served) = tokio::sync::mpsc::unbounded_channel();
    for i in 0..5 {
        let (slots, order) = (Arc::clone(&slots), order.clone());
        let lane = if i % 2 == 0 { Lane::Fast } else { Lane::Slow };
        tokio::spawn(async move {
            let slot = slots.take(peer(1), lane, soon()).await.unwrap();
            order.send(i).unwrap();
            drop(slot);
        });
        tokio::task::yield_now().await;
    }
    assert_eq!(load(&slots), (2, 5));
    drop((a, order));
    let mut seen = Vec::new();
    while let Some(i) = served.recv().await {
        seen.push(i);
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    assert_eq!(load(&slots), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_fast_lane_stays_open_when_the_slow_one_is_full() {
    let slots = slots(4, 1, 100);
    let mut slow = Vec::new();
    for _ in 0..3 {
        slow.push(slots.take(peer(1), Lane::Slow, soon()).await.unwrap());
    }
    let refused = slots
        .take(
            peer(1),
            Lane::Slow,
            Instant::now() + Duration::from_millis(5),
        )
        .await;
    assert_eq!(
        refused.unwrap_err(),
        Error::QueueTimeout {
            waiting: 0,
            in_use: 3
        }
    );
    let fast = slots.take(peer(1), Lane::Fast, soon()).await.unwrap();
    assert_eq!(load(&slots), (4, 0));
    drop(fast);
    slow.pop();
    slots.take(peer(1), Lane::Slow, soon()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_who_leaves_gives_up_the_place() {
    let slots = slots(1, 0, 1);
    let held = slots.take(peer(1), Lane::Fast, soon()).await.unwrap();
    let waiting = tokio::spawn({
        let slots = Arc::clone(&slots);
        async move { slots.take(peer(1), Lane::Fast, soon()).await.map(drop) }
    });
    tokio::task::yield_now().await;
    let full = slots.take(peer(1), Lane::Fast, soon()).await.unwrap_err();
    assert_eq!(
        full,
        Error::QueueFull {
            waiting: 1,
            in_use: 1
        }
    );
    waiting.abort();
    let _ = waiting.await;
    assert_eq!(load(&slots), (1, 0));
    drop(held);
    assert_eq!(load(&slots), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn warm_connections_count_as_slots_and_yield_to_requests() {
    let slots = slots(2, 0, 10);
    let start = Instant::now();
    slots.park(slots.spare().unwrap(), "first");
    tokio::time::advance(Duration::from_secs(1)).await;
    slots.park(slots.spare().unwrap(), "second");
    assert_eq!(slots.oldest_warm(), Some(start));
    assert!(slots.spare().is_none(), "never above the slots");
    assert_eq!((load(&slots), slots.warm()), ((2, 0), 2));
    let mut a = slots.take(peer(1), Lane::Slow, soon()).await.unwrap();
    assert_eq!(a.warm(), Some("first"));
    assert_eq!((load(&slots), slots.warm()), ((2, 0), 1));
    assert!(slots.take_back(start).is_none(), "the second is younger");
    let mut back = slots.take_back(Instant::now()).unwrap();
    assert_eq!(back.warm(), Some("second"));
    assert!(slots.take_back(Instant::now()).is_none());
    drop((a, back));
    assert_eq!(load(&slots), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_gets_ready_goes_to_who_waits() {
    let slots = slots(1, 0, 10);
    let opening = slots.spare().unwrap();
    let waiting = tokio::spawn({
        let slots = Arc::clone(&slots);
        async move {
            slots
                .take(peer(1), Lane::Fast, soon())
                .await
                .map(|mut slot| slot.warm())
        }
    });
    tokio::task::yield_now().await;
    assert!(slots.spare().is_none(), "not while somebody waits");
    slots.park(opening, "ready");
    assert_eq!(waiting.await.unwrap().unwrap(), Some("ready"));
    assert_eq!(load(&slots), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_slow_lane_leaves_warm_connections_to_the_fast_one() {
    let slots = slots(2, 1, 10);
    let _slow = slots.take(peer(1), Lane::Slow, soon()).await.unwrap();
    slots.park(slots.spare().unwrap(), "warm");
    let late = slots
        .take(
            peer(1),
            Lane::Slow,
            Instant::now() + Duration::from_millis(5),
        )
        .await;
    assert!(late.is_err());
    assert_eq!(
        slots
            .take(peer(1), Lane::Fast, soon())
            .await
            .unwrap()
            .warm(),
        Some("warm")
    );
}

/// Queues requests of these peers while one slot is held, and says in which order they were served.
async fn order_of(peers: &[u8], holder: u8) -> Vec<u8> {
    let slots = slots(1, 0, 100);
    let held = slots.take(peer(holder), Lane::Fast, soon()).await.unwrap();
    let (order, mut served) = tokio::sync::mpsc::unbounded_channel();
    for number in peers.iter().copied() {
        let (slots, order) = (Arc::clone(&slots), order.clone());
        tokio::spawn(async move {
            let slot = slots.take(peer(number), Lane::Fast, soon()).await.unwrap();
            order.send(number).unwrap();
            drop(slot);
        });
        tokio::task::yield_now().await;
    }
    drop((held, order));
    let mut seen = Vec::new();
    while let Some(number) = served.recv().await {
        seen.push(number);
    }
    assert_eq!(slots.lock().turns.peers(), 0);
    seen
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_holds_a_slot_comes_after_one_that_holds_none() {
    let slots = slots(2, 0, 100);
    let first = slots.take(peer(1), Lane::Fast, soon()).await.unwrap();
    let _second = slots.take(peer(1), Lane::Slow, soon()).await.unwrap();
    let waiting = [1, 1, 2].map(|number| {
        let slots = Arc::clone(&slots);
        let lane = if number == 1 { Lane::Fast } else { Lane::Slow };
        tokio::spawn(async move {
            slots
                .take(peer(number), lane, soon())
                .await
                .map(|s| (number, s))
        })
    });
    tokio::task::yield_now().await;
    assert_eq!(load(&slots), (2, 3));
    drop(first);
    let [a, b, c] = waiting;
    let (number, _slot) = c.await.unwrap().unwrap();
    assert_eq!((number, load(&slots)), (2, (2, 2)));
    assert!(!a.is_finished() && !b.is_finished());
}

#[tokio::test(start_paused = true)]
async fn peers_take_turns() {
    assert_eq!(order_of(&[1, 1, 1, 2, 2, 3], 1).await, [2, 3, 1, 2, 1, 1]);
    assert_eq!(order_of(&[1, 2, 1], 3).await, [1, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn one_peer_leaves_places_in_the_queue_to_others() {
    let slots = slots(1, 0, 4);
    let _held = slots.take(peer(1), Lane::Fast, soon()).await.unwrap();
    let wait = |number| {
        let slots = Arc::clone(&slots);
        tokio::spawn(async move { slots.take(peer(number), Lane::Fast, soon()).await.map(drop) })
    };
    let table = [
        (1, true),
        (1, true),
        (1, false),
        (2, true),
        (2, false),
        (3, true),
        (4, false),
    ];
    let mut waiting = Vec::new();
    for (number, has_place) in table {
        let one = wait(number);
        tokio::task::yield_now().await;
        assert_eq!(!one.is_finished(), has_place, "{number}");
        waiting.push(one);
    }
    assert_eq!(load(&slots), (1, 4));
}
