//! `busbar routes`: a table of hosts, apps and dynos.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// One host and where its requests go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RouteRow {
    /// `shop.example.com`, `*.shop.example.com`, or `*` for hosts that no app claims.
    pub(crate) host: String,
    /// The app.
    pub(crate) app: String,
    /// Dynos that get requests.
    pub(crate) up: usize,
    /// Dynos that finish what they have.
    pub(crate) draining: usize,
    /// `up`, `no dynos`, `starting`, `crashed`, `maintenance`.
    pub(crate) state: String,
}

/// The table, with a head; or what it means that there is none.
pub(crate) fn routes(rows: &[RouteRow]) -> String {
    if rows.is_empty() {
        return "No routes: every request is answered with 404\n".to_owned();
    }
    let width =
        |head: &str, cell: fn(&RouteRow) -> usize| rows.iter().map(cell).max().unwrap_or(0).max(head.len());
    let (host, app) = (width("HOST", |row| row.host.chars().count()), width("APP", |row| row.app.len()));
    let mut text = format!("{:<host$}  {:<app$}  {:<11}  STATE\n", "HOST", "APP", "DYNOS");
    for row in rows {
        let draining = if row.draining > 0 { format!(" (+{})", row.draining) } else { String::new() };
        let dynos = format!("{}{draining}", row.up);
        let _written = writeln!(text, "{:<host$}  {:<app$}  {dynos:<11}  {}", row.host, row.app, row.state);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_a_table() {
        let row = |host: &str, draining, state: &str| RouteRow {
            host: host.into(),
            app: "shop".into(),
            up: 2,
            draining,
            state: state.into(),
        };
        assert_eq!(
            routes(&[row("shop.example.com", 0, "up"), row("*", 1, "maintenance")]),
            "HOST              APP   DYNOS        STATE\n\
             shop.example.com  shop  2            up\n\
             *                 shop  2 (+1)       maintenance\n"
        );
        assert!(routes(&[]).starts_with("No routes"));
    }
}
