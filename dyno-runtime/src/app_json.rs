//! The part of Heroku's `app.json` that a runtime needs: `formation` and `buildpacks`. Pure.
//!
//! `{"buildpacks": [{"url": "python"}]}` is a list of names or directories, in order.
//!
//! `{"formation": {"web": {"quantity": 2, "size": "standard-2x"}, "worker": {"quantity": 1}}}`. Other keys are for
//! other programs and are skipped. A type without `quantity` has one dyno, as on Heroku.

use std::collections::BTreeMap;

use busbar_registry::ProcessType;
use serde::Deserialize;

use crate::{
    formation::{Formation, FormationError, Share},
    size::NoSize,
};

/// Why an `app.json` was refused.
#[derive(Debug, thiserror::Error)]
pub enum AppJsonError {
    /// It is not JSON, or `formation` is not of the form above.
    #[error("app.json: {0}; formation is written {{\"web\": {{\"quantity\": 2}}}}")]
    Json(#[from] serde_json::Error),
    /// The formation itself is wrong.
    #[error("app.json: {0}")]
    Formation(#[from] FormationError),
    /// A size that is none.
    #[error("app.json: {0}")]
    Size(#[from] NoSize),
}

#[derive(Deserialize)]
struct AppJson {
    formation: Option<BTreeMap<ProcessType, Quantity>>,
    #[serde(default)]
    buildpacks: Vec<BuildpackUrl>,
}

#[derive(Deserialize)]
struct BuildpackUrl {
    url: String,
}

#[derive(Deserialize)]
struct Quantity {
    #[serde(default = "one")]
    quantity: u32,
    size: Option<String>,
}

fn one() -> u32 {
    1
}

/// The formation written in an `app.json`; `None` when it has none.
///
/// # Errors
/// [`AppJsonError`].
pub fn formation(text: &str) -> Result<Option<Formation>, AppJsonError> {
    let AppJson { formation, .. } = serde_json::from_str(text)?;
    let Some(types) = formation else { return Ok(None) };
    let share = |(process_type, Quantity { quantity, size }): (ProcessType, Quantity)| {
        let size = size.map(|size| size.parse()).transpose()?;
        Ok::<_, AppJsonError>((process_type, Share { quantity, size }))
    };
    Ok(Some(Formation::new(types.into_iter().map(share).collect::<Result<Vec<_>, _>>()?)?))
}

/// The buildpacks that an `app.json` names, in order; none when it names none.
///
/// # Errors
/// [`AppJsonError::Json`].
pub fn buildpacks(text: &str) -> Result<Vec<String>, AppJsonError> {
    let AppJson { buildpacks, .. } = serde_json::from_str(text)?;
    Ok(buildpacks.into_iter().map(|BuildpackUrl { url }| url).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formation_is_read_and_the_rest_is_skipped() {
        let text = r#"{"name":"x","formation":{"web":{"quantity":2,"size":"eco"},"worker":{}}}"#;
        assert_eq!(formation(text).unwrap().unwrap().to_string(), "web=2:eco worker=1");
        assert_eq!(formation(r#"{"name":"x"}"#).unwrap(), None);
    }

    #[test]
    fn buildpacks_are_read_in_their_order() {
        let text = r#"{"buildpacks":[{"url":"./mine"},{"url":"python"}]}"#;
        assert_eq!(buildpacks(text).unwrap(), ["./mine", "python"]);
        assert_eq!(buildpacks("{}").unwrap(), [] as [String; 0]);
        assert!(buildpacks(r#"{"buildpacks":["python"]}"#).is_err());
    }

    #[test]
    fn a_formation_that_cannot_be_is_refused() {
        for bad in [
            "{",
            r#"{"formation":[]}"#,
            r#"{"formation":{"web":2}}"#,
            r#"{"formation":{"web":{"quantity":-1}}}"#,
            r#"{"formation":{"w b":{"quantity":1}}}"#,
            r#"{"formation":{"web":{"quantity":1000}}}"#,
            r#"{"formation":{"web":{"size":"huge"}}}"#,
        ] {
            assert!(formation(bad).unwrap_err().to_string().starts_with("app.json: "), "{bad}");
        }
    }
}
