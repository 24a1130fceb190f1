//! What a host must survive. None of these returns.

use std::{hint::black_box, thread, time::Duration};

/// Panics, which on WebAssembly is a trap.
pub(crate) fn trap() -> ! {
    panic!("told to trap")
}

/// Computes for ever.
pub(crate) fn spin() -> ! {
    let mut rounds = 0_u64;
    loop {
        rounds = black_box(rounds.wrapping_add(1));
    }
}

/// Takes memory until there is none, which is a trap.
pub(crate) fn hog() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Uses up the stack, which is a trap.
pub(crate) fn recurse() -> ! {
    #[expect(unconditional_recursion, reason = "that it never ends is the point")]
    fn deeper(depth: u64) -> u64 {
        let room = black_box([depth; 64]);
        deeper(depth + 1) + room[0]
    }
    deeper(0);
    unreachable!("the stack has an end")
}

/// Waits in the host, computing nothing, for longer than any call may take.
pub(crate) fn sleep() -> ! {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}
