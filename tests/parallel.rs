//! Regions do all of their tasks, each once, and on the threads that they should.

use mobilesight::parallel::{for_each, for_each_chunk, for_each_pair_beside, for_each_with, threads};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Costs of a task: a region of them stays in the caller, or is shared.
const COSTS: [usize; 2] = [0, 1 << 30];
/// Shared where there are a thousand, several of them in a claim.
const SEVERAL: usize = 1 << 13;

#[test]
fn each_task_is_done_once() {
    let costs = [COSTS[0], SEVERAL, COSTS[1]];
    for (cost, tasks) in costs.into_iter().flat_map(|cost| [0, 1, 2, 100, 1001].map(|tasks| (cost, tasks))) {
        let done: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
        let once = || assert!(done.iter().all(|count| count.swap(0, Ordering::Relaxed) == 1));
        for_each(tasks, cost, |task| _ = done[task].fetch_add(1, Ordering::Relaxed));
        once();
        for_each_with(tasks, cost, &mut vec![0; threads()], |task, _| _ = done[task].fetch_add(1, Ordering::Relaxed));
        once();
    }
}

#[test]
fn a_task_has_its_scratch_for_itself() {
    for cost in COSTS {
        let mut scratch = vec![7; 3 * threads()];
        for_each_with(100, cost, &mut scratch, |task, scratch| {
            assert!(scratch == [0; 3] || scratch[0] > 100, "zeros, or what a task left");
            scratch.fill(101 + task);
            std::thread::yield_now();
            assert_eq!(scratch, [101 + task; 3]);
        });
    }
}

#[test]
fn chunks_come_with_their_numbers() {
    for cost in COSTS {
        let mut data = [0; 12];
        for_each_chunk(&mut data, 3, cost, |i, chunk| chunk.fill(i));
        assert_eq!(data, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);

        let (mut a, mut b) = ([0; 5], [0; 3]);
        let mut times = 0;
        for_each_pair_beside(&mut || times += 1, (&mut a, 2), (&mut b, 1), cost, |i, a, b| {
            a.fill(i);
            b[0] = a.len();
        });
        assert_eq!((a, b, times), ([0, 0, 1, 1, 2], [2, 2, 1], 1));
    }
}

#[test]
fn little_work_stays_in_the_caller() {
    let caller = std::thread::current().id();
    for_each(100, 1, |_| assert_eq!(std::thread::current().id(), caller));
}

#[cfg(feature = "threads")]
#[test]
fn the_caller_and_the_whole_pool_take_part() {
    // Each task waits for one on every thread.
    let all = std::sync::Barrier::new(threads());
    for_each(threads(), COSTS[1], |_| _ = all.wait());
}

/// More threads than a region has sections, and fewer tasks than threads.
#[cfg(feature = "threads")]
#[test]
fn threads_share_sections() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(20).build().expect("a pool");
    pool.install(each_task_is_done_once);
}

#[cfg(feature = "threads")]
#[test]
fn a_panic_comes_back_and_the_next_region_works() {
    let region = |bad: usize| for_each(100, COSTS[1], |task| assert_ne!(task, bad));
    assert!(std::panic::catch_unwind(|| region(50)).is_err());
    region(100);
}
