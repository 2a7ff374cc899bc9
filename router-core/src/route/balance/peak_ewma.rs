//! Of two different dynos chosen at random, the one with the smaller expected wait: its recent latency × (its requests
//! in flight + 1). Latency is a peak-sensitive, exponentially decaying mean (as in Finagle and linkerd): a slower answer
//! counts at once and in full, a faster one gradually. Between answers it fades, but while requests are in flight never below
//! the time since the last one: else a dyno too slow to be measured would look fast.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use fastrand::Rng;

use super::Field;
use crate::route::{Moment, dyno::Dyno, load::DynoLoad};

/// After this time without another sample, a sample counts 1/e of what it did.
const DECAY: Duration = Duration::from_secs(10);
/// What a dyno that was never measured is taken to need once it has a request: it is tried, but not flooded.
const UNMEASURED: f32 = 1e9;

/// Latency in µs, and the ms at which it was that: one word, so that both change together. The ms wrap after 49 days;
/// a dyno idle for just as long is then taken to be measured recently, until its next answer.
#[derive(Clone, Copy)]
struct Latency {
    micros: f32,
    at_ms: u32,
}

impl Latency {
    const fn unpack(word: u64) -> Option<Self> {
        if word == 0 {
            return None;
        }
        let [a, b, c, d, e, f, g, h] = word.to_be_bytes();
        Some(Self { micros: f32::from_be_bytes([a, b, c, d]), at_ms: u32::from_be_bytes([e, f, g, h]) })
    }

    const fn pack(self) -> u64 {
        let [[a, b, c, d], [e, f, g, h]] = [self.micros.to_be_bytes(), self.at_ms.to_be_bytes()];
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    fn weight(self, now_ms: u32) -> f32 {
        (-(now_ms.wrapping_sub(self.at_ms) as f32) / DECAY.as_millis() as f32).exp()
    }
}

fn millis(now: Moment) -> u32 {
    // Wraps on purpose, see `Latency`.
    (now.as_micros() / 1000) as u32
}

impl DynoLoad {
    /// An answer began `latency` after its request was sent. Counts for
    /// [`Balance::PeakEwma`](busbar_registry::Balance::PeakEwma).
    pub fn answered(&self, latency: Duration, now: Moment) {
        let now_ms = millis(now);
        // At least 1 µs, so that a packed latency is never the word 0.
        let sample = (latency.as_secs_f32() * 1e6).max(1.0);
        let fold = |word| {
            let micros = match Latency::unpack(word) {
                Some(before) if before.micros > sample => {
                    let weight = before.weight(now_ms);
                    before.micros * weight + sample * (1.0 - weight)
                }
                _ => sample,
            };
            Some(Latency { micros, at_ms: now_ms }.pack())
        };
        // The fold always goes on, so the update always succeeds.
        let _ = self.latency.fetch_update(Relaxed, Relaxed, fold);
    }

    /// A request begins. When it is the only one, silence counts from here.
    pub(super) fn begun(&self, now: Moment) {
        if self.in_flight() == 1 {
            self.silent_since.store(millis(now), Relaxed);
        }
    }

    /// The wait a request should expect here, in µs.
    fn expected_wait(&self, now: Moment) -> f32 {
        let (in_flight, now_ms) = (self.in_flight(), millis(now));
        match Latency::unpack(self.latency.load(Relaxed)) {
            Some(latency) => {
                let known = latency.micros * latency.weight(now_ms);
                let silent = |since: u32| now_ms.wrapping_sub(since);
                let silence_ms = silent(latency.at_ms).min(silent(self.silent_since.load(Relaxed)));
                // What is known fades, but not while requests wait for an answer: the next one needs that long at least.
                let needs = if in_flight == 0 { known } else { known.max(silence_ms as f32 * 1e3) };
                needs * (in_flight as f32 + 1.0)
            }
            None if in_flight == 0 => 0.0,
            None => UNMEASURED * in_flight as f32,
        }
    }
}

pub(super) fn pick<'a>(field: &Field<'a>, rng: &mut Rng) -> Option<&'a Arc<Dyno>> {
    let (one, other) = field.two_free(rng)?;
    let Some(other) = other else { return Some(one) };
    let now = field.now;
    Some(if other.load.expected_wait(now) < one.load.expected_wait(now) { other } else { one })
}

#[cfg(test)]
mod tests {
    use busbar_registry::Balance;

    use super::*;
    use crate::route::{fixture, load::Slot, retry::Tried};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_slow_answer_counts_at_once_and_fades() {
        let (load, start) = (DynoLoad::default(), Moment::from_micros(5_000_000));
        load.answered(10 * MS, start);
        load.answered(900 * MS, start);
        assert_eq!(load.expected_wait(start), 900_000.0);
        load.answered(10 * MS, start + DECAY);
        let faded = 900_000.0 / std::f32::consts::E + 10_000.0 * (1.0 - 1.0 / std::f32::consts::E);
        assert!((load.expected_wait(start + DECAY) - faded).abs() < 10.0);
    }

    #[test]
    fn the_faster_of_two_dynos_is_preferred_until_it_is_busier_by_as_much() {
        let (set, _app) = fixture::app(2, |_| {});
        set.dynos[0].load.answered(10 * MS, Moment::START);
        set.dynos[1].load.answered(35 * MS, Moment::START);
        let field = Field::new(&set, Tried::none(), Moment::START);
        let mut rng = Rng::with_seed(1);
        for in_flight in 0..5 {
            let expected = usize::from(in_flight >= 3); // 10 ms × (3 + 1) > 35 ms × 1
            let picked = pick(&field, &mut rng).unwrap();
            assert!(Arc::ptr_eq(picked, &set.dynos[expected]), "with {in_flight} in flight");
            fixture::begin(&set.dynos[0], 1);
        }
    }

    #[test]
    fn a_dyno_that_does_not_answer_looks_slower_the_longer_it_is_silent() {
        let (set, _app) = fixture::app(2, |routing| routing.balance = Balance::PeakEwma);
        let [slow, fast] = &*set.dynos else { panic!("there are two") };
        slow.load.answered(10 * MS, Moment::START);
        let asked = Moment::START + DECAY * 10; // long idle, and all is forgotten
        assert!(slow.load.expected_wait(asked) < 1_000.0);
        let slot = Slot::take(slow, None).unwrap();
        slow.load.begun(asked);
        assert!(slow.load.expected_wait(asked) < 1_000.0, "its idle time is not its fault");
        let later = asked + DECAY * 6;
        assert_eq!(slow.load.expected_wait(later), DECAY.as_micros() as f32 * 6.0 * 2.0);
        fast.load.answered(900 * MS, later);
        let _busy = fixture::hold(fast, 3);
        let field = Field::new(&set, Tried::none(), later);
        assert!(Arc::ptr_eq(pick(&field, &mut Rng::with_seed(1)).unwrap(), fast));
        drop(slot);
    }

    #[test]
    fn an_unmeasured_dyno_gets_one_request_and_no_flood() {
        let (set, _app) = fixture::app(2, |_| {});
        set.dynos[0].load.answered(100 * MS, Moment::START);
        let field = Field::new(&set, Tried::none(), Moment::START);
        let mut rng = Rng::with_seed(1);
        assert!(Arc::ptr_eq(pick(&field, &mut rng).unwrap(), &set.dynos[1]));
        fixture::begin(&set.dynos[1], 1);
        assert!(Arc::ptr_eq(pick(&field, &mut rng).unwrap(), &set.dynos[0]));
    }
}
