//! `busbar certs`: a table of certificates, and what is wrong below it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// A certificate, or a name that still has none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CertificateRow {
    /// The names and addresses it is for.
    pub(crate) names: Vec<String>,
    /// `acme`, or the file it was read from.
    pub(crate) source: String,
    /// Who has signed it; `None`: there is none yet.
    pub(crate) issuer: Option<String>,
    /// Until when it is good, as RFC 3339 writes it.
    pub(crate) expires: Option<String>,
    /// Whole days until then; negative once it is over.
    pub(crate) expires_in_days: Option<i64>,
    /// When it is requested or renewed next.
    pub(crate) next_attempt: Option<String>,
    /// That happens just now.
    pub(crate) is_busy: bool,
    /// So many attempts have failed in a row.
    pub(crate) failures: u32,
    /// Why the last one failed.
    pub(crate) last_error: Option<String>,
}

/// The table, with a head, and a line for each failure.
pub(crate) fn certs(rows: &[CertificateRow]) -> String {
    if rows.is_empty() {
        return "No certificates: no [[certificate]] and no [acme] in the configuration\n".to_owned();
    }
    let names = |row: &CertificateRow| row.names.join(", ");
    let day = |moment: &Option<String>| match moment.as_deref() {
        Some(moment) => moment.get(..10).unwrap_or(moment).to_owned(),
        None => "-".to_owned(),
    };
    let cells = |row: &CertificateRow| {
        let expires = match row.expires_in_days {
            Some(days) if days < 0 => format!("{} (over)", day(&row.expires)),
            Some(days) => format!("{} ({days} d)", day(&row.expires)),
            None => "none yet".to_owned(),
        };
        let next = if row.is_busy { "now".to_owned() } else { day(&row.next_attempt) };
        [names(row), expires, next, row.issuer.clone().unwrap_or_else(|| "-".to_owned()), row.source.clone()]
    };
    let head = ["NAMES", "EXPIRES", "RENEWED", "ISSUER", "SOURCE"].map(str::to_owned);
    let table: Vec<_> = std::iter::once(head).chain(rows.iter().map(cells)).collect();
    let width = |column: fn(&[String; 5]) -> &String| {
        table.iter().map(|row| column(row).chars().count()).max().unwrap_or(0)
    };
    let (a, b, c, d) = (width(|r| &r[0]), width(|r| &r[1]), width(|r| &r[2]), width(|r| &r[3]));
    let mut text = String::new();
    for [names, expires, next, issuer, source] in &table {
        let _written = writeln!(text, "{names:<a$}  {expires:<b$}  {next:<c$}  {issuer:<d$}  {source}");
    }
    for row in rows {
        if let Some(error) = &row.last_error {
            let (failures, names) = (row.failures, names(row));
            let times = if failures == 1 { "failed".to_owned() } else { format!("failed {failures} times") };
            let _written = writeln!(text, "{names} {times}: {error}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_a_table_and_failures_stand_below_it() {
        let row = |name: &str, days: Option<i64>, error: Option<&str>| CertificateRow {
            names: vec![name.into()],
            source: "acme".into(),
            issuer: days.map(|_| "CN=CA".into()),
            expires: days.map(|_| "2027-01-31T01:02:03Z".into()),
            expires_in_days: days,
            next_attempt: Some("2027-01-01T01:02:03Z".into()),
            is_busy: false,
            failures: u32::from(error.is_some()) * 2,
            last_error: error.map(str::to_owned),
        };
        assert_eq!(
            certs(&[row("a.example", Some(60), None), row("*.b.example", None, Some("no"))]),
            "NAMES        EXPIRES            RENEWED     ISSUER  SOURCE\n\
             a.example    2027-01-31 (60 d)  2027-01-01  CN=CA   acme\n\
             *.b.example  none yet           2027-01-01  -       acme\n\
             *.b.example failed 2 times: no\n"
        );
        assert!(certs(&[]).starts_with("No certificates"));
    }
}
