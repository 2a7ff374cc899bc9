//! A filter that allows system calls by their number only.
//!
//! When a filter is installed the kernel asks it about every call there is, to know those that are always allowed. A filter
//! that compares one number after the other takes most of a millisecond for that, in each dyno; this one halves.

use std::{collections::BTreeSet, ops::RangeInclusive};

use seccompiler::{BpfProgram, TargetArch, sock_filter};

// As `linux/bpf_common.h` has them.
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Places in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

const ALLOW: u32 = 0x7fff_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

/// Allows these calls, and answers `errno` to others. Calls of another architecture end the process.
pub(super) fn allow_list(calls: &BTreeSet<u32>, errno: u16, arch: TargetArch) -> BpfProgram {
    let architecture = match arch {
        TargetArch::x86_64 => 0xc000_003e,
        TargetArch::aarch64 => 0xc000_00b7,
        TargetArch::riscv64 => 0xc000_00f3,
    };
    let mut program = vec![
        statement(LOAD, ARCHITECTURE),
        branch(IF_EQUAL, architecture, 1, 0),
        statement(RETURN, KILL_PROCESS),
        statement(LOAD, NUMBER),
    ];
    program.extend(search(&ranges(calls), ERRNO | u32::from(errno)));
    program
}

/// Neighbouring numbers together, in order.
fn ranges(calls: &BTreeSet<u32>) -> Vec<RangeInclusive<u32>> {
    let mut ranges: Vec<RangeInclusive<u32>> = vec![];
    for call in calls {
        match ranges.last_mut() {
            Some(last) if last.end() + 1 == *call => *last = *last.start()..=*call,
            _ => ranges.push(*call..=*call),
        }
    }
    ranges
}

/// Every way through it ends with an answer.
fn search(ranges: &[RangeInclusive<u32>], refuse: u32) -> BpfProgram {
    match ranges {
        [] => vec![statement(RETURN, refuse)],
        [one] => vec![
            branch(IF_AT_LEAST, *one.start(), 0, 2),
            branch(IF_GREATER, *one.end(), 1, 0),
            statement(RETURN, ALLOW),
            statement(RETURN, refuse),
        ],
        [_, .., last] => {
            let (lower, upper) = ranges.split_at(ranges.len() / 2);
            let pivot = upper.first().map_or(*last.start(), |first| *first.start());
            let (lower, upper) = (search(lower, refuse), search(upper, refuse));
            let over = u32::try_from(upper.len()).unwrap_or(u32::MAX);
            let head = [branch(IF_AT_LEAST, pivot, 1, 0), statement(JUMP, over)];
            head.into_iter().chain(upper).chain(lower).collect()
        }
    }
}

fn statement(code: u16, k: u32) -> sock_filter {
    branch(code, k, 0, 0)
}

fn branch(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const X86_64: u32 = 0xc000_003e;

    /// As the kernel would.
    fn ask(program: &[sock_filter], architecture: u32, number: u32) -> u32 {
        let (mut at, mut value) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { jt } else { jf });
            match code {
                LOAD if k == NUMBER => value = number,
                LOAD if k == ARCHITECTURE => value = architecture,
                JUMP => at += k as usize,
                IF_EQUAL => at += jump(value == k),
                IF_GREATER => at += jump(value > k),
                IF_AT_LEAST => at += jump(value >= k),
                RETURN => return k,
                other => panic!("{other:#x}"),
            }
        }
    }

    proptest! {
        #[test]
        fn just_what_is_on_the_list_is_allowed(calls in prop::collection::btree_set(0u32..500, 0..400)) {
            let program = allow_list(&calls, 38, TargetArch::x86_64);
            let others = [0x4000_0000, 0x4000_0001, u32::MAX, u32::MAX - 1];
            for number in (0..600).chain(others) {
                let expected = if calls.contains(&number) { ALLOW } else { ERRNO | 38 };
                prop_assert_eq!(ask(&program, X86_64, number), expected, "{}", number);
            }
        }
    }

    #[test]
    fn another_architecture_is_the_end() {
        let program = allow_list(&BTreeSet::from([1]), 38, TargetArch::x86_64);
        assert_eq!(ask(&program, 0x4000_0003, 1), KILL_PROCESS);
    }

    #[test]
    fn a_call_is_found_in_few_steps() {
        let program = allow_list(&(0..400).map(|n| n * 2).collect(), 38, TargetArch::x86_64);
        assert!(program.len() < 4096, "{}", program.len());
        assert_eq!(ask(&program, X86_64, 798), ALLOW);
    }
}
