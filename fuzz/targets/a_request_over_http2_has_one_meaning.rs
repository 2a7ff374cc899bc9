//! Attacks [`busbar_fuzz::http2_head`]. Without libFuzzer it replays the files it is given.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| busbar_fuzz::http2_head::claim(bytes));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    busbar_fuzz::replay(busbar_fuzz::http2_head::claim)
}
