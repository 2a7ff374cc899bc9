//! `[edge]`: what is done about odd requests, and whom the router believes.

use router_core::{
    route::forward::{Network, TrustedProxies},
    server::{ContentLengthWithChunked, RequestPolicy, Underscores},
};

use super::all;
use crate::config::{EdgeRules, complaint::Complaints, raw::RawEdge, table::At};

/// Each request looks through all of them.
const MOST_NETWORKS: usize = 256;

/// What `[edge]` means.
pub(super) fn check(raw: RawEdge, complaints: &mut Complaints<'_>) -> EdgeRules {
    let underscores =
        [("keep", Underscores::Keep), ("drop", Underscores::Drop), ("refuse", Underscores::Refuse)];
    let lengths = [
        ("refuse", ContentLengthWithChunked::Refuse),
        ("chunked_wins", ContentLengthWithChunked::ChunkedWins),
    ];
    let both = "content_length_with_chunked";
    let policy = RequestPolicy {
        underscores: one_of("underscores", raw.underscores.as_ref(), underscores, complaints),
        content_length_with_chunked: one_of(
            both,
            raw.content_length_with_chunked.as_ref(),
            lengths,
            complaints,
        ),
    };
    EdgeRules {
        policy,
        trusted_proxies: networks(raw.trusted_proxies, complaints),
        forwarded: raw.forwarded.is_some_and(|forwarded| forwarded.value),
    }
}

/// The value that this word stands for; the usual one when there is no word, or none of these.
fn one_of<T: Default, const N: usize>(
    key: &str,
    written: Option<&At<String>>,
    words: [(&str, T); N],
    complaints: &mut Complaints<'_>,
) -> T {
    let Some(written) = written else { return T::default() };
    let known = words.each_ref().map(|(word, _)| format!("{word:?}")).join(" or ");
    let meant = words.into_iter().find(|(word, _)| *word == written.value);
    if meant.is_none() {
        complaints.add(&written.at, format!("`{key}` is {:?}; write {known}", written.value));
    }
    meant.map(|(_, meant)| meant).unwrap_or_default()
}

fn networks(written: Option<At<Vec<At<String>>>>, complaints: &mut Complaints<'_>) -> TrustedProxies {
    if let Some(list) = written.as_ref().filter(|list| list.value.len() > MOST_NETWORKS) {
        complaints
            .add(&list.at, format!("`trusted_proxies` has more than {MOST_NETWORKS} networks; join them"));
    }
    let read = |text: &str| -> Result<Network, String> {
        text.parse::<Network>().map_err(|error| format!("trusted proxy {text:?}: {error}"))
    };
    all(written, "trusted proxy", read, complaints).unwrap_or_default().into_iter().collect()
}
