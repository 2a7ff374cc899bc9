//! Who may do what: [`Capabilities`] makes tokens and recognises them again; a [`Grant`] is what a token allows.
//!
//! A token is a name and a keyed hash of it, so the registry keeps no list of tokens. Whoever has the key can make
//! every token; a new key makes all earlier tokens worthless.

use std::fmt;

use crate::{AppName, Token};

/// The key that tokens are made with.
#[derive(Clone)]
pub struct Capabilities {
    key: [u8; 32],
}

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Everything.
    Operator,
    /// To register, renew, drain and deregister dynos of this app, and to report its web formation.
    App(AppName),
}

/// No key could be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a key for tokens: the kernel gave no random bytes ({0})")]
pub struct NoKey(String);

impl Capabilities {
    /// A new key. Tokens of an earlier one are not recognised.
    ///
    /// # Errors
    /// When the kernel has no random bytes, which a running Linux always has.
    pub fn generate() -> Result<Self, NoKey> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| NoKey(error.to_string()))?;
        Ok(Self { key })
    }

    /// A key kept from earlier; it recognises the tokens it made then.
    pub fn from_key(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// The token for the dynos of `app`.
    pub fn app_token(&self, app: &AppName) -> Token {
        format!("bb1.app.{app}.{}", self.mac(&Grant::App(app.clone())).to_hex()).into()
    }

    /// The operator's token.
    pub fn operator_token(&self) -> Token {
        format!("bb1.operator.{}", self.mac(&Grant::Operator).to_hex()).into()
    }

    /// What the token allows. `None`: this key did not make it. The hash is compared in constant time.
    pub fn check(&self, token: &str) -> Option<Grant> {
        let (grant, mac) = match token.strip_prefix("bb1.")?.split_once('.')? {
            ("operator", mac) => (Grant::Operator, mac),
            ("app", rest) => {
                let (app, mac) = rest.split_once('.')?;
                (Grant::App(app.parse().ok()?), mac)
            }
            _ => return None,
        };
        // `==` of `blake3::Hash` is the constant-time one.
        (blake3::Hash::from_hex(mac).ok()? == self.mac(&grant)).then_some(grant)
    }

    /// App names contain no space, so no two grants hash the same text.
    fn mac(&self, grant: &Grant) -> blake3::Hash {
        let text = match grant {
            Grant::Operator => "busbar registry token 1 operator".to_owned(),
            Grant::App(app) => format!("busbar registry token 1 app {app}"),
        };
        blake3::keyed_hash(&self.key, text.as_bytes())
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capabilities(..)")
    }
}

impl Grant {
    /// Whether this is enough for what concerns the dynos of `app`.
    pub fn covers(&self, app: &AppName) -> bool {
        match self {
            Self::Operator => true,
            Self::App(granted) => granted == app,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop() -> AppName {
        "shop".parse().unwrap()
    }

    #[test]
    fn a_token_is_recognised_by_the_key_that_made_it_and_by_no_other() {
        let capabilities = Capabilities::from_key([7; 32]);
        let (app, operator) = (capabilities.app_token(&shop()), capabilities.operator_token());
        assert_eq!(capabilities.check(app.secret()), Some(Grant::App(shop())));
        assert_eq!(capabilities.check(operator.secret()), Some(Grant::Operator));
        let other = Capabilities::generate().unwrap();
        assert_eq!((other.check(app.secret()), other.check(operator.secret())), (None, None));
    }

    #[test]
    fn a_token_with_any_character_changed_is_not_recognised() {
        let capabilities = Capabilities::from_key([7; 32]);
        for token in [capabilities.app_token(&shop()), capabilities.operator_token()] {
            for at in 0..token.secret().len() {
                let mut changed = token.secret().as_bytes().to_vec();
                changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
                assert_eq!(capabilities.check(std::str::from_utf8(&changed).unwrap()), None, "{at}");
            }
        }
        let mac = capabilities.operator_token().secret().rsplit_once('.').unwrap().1.to_owned();
        let forged = format!("bb1.app.operator.{mac}");
        for nonsense in ["", "bb1", "bb1.", "bb1.operator", "bb1.operator.", "bb1.app.shop", &forged] {
            assert_eq!(capabilities.check(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn an_apps_token_covers_that_app_only() {
        assert!(Grant::App(shop()).covers(&shop()));
        assert!(!Grant::App(shop()).covers(&"shop2".parse().unwrap()));
        assert!(Grant::Operator.covers(&shop()));
    }

    #[test]
    fn neither_key_nor_token_is_shown() {
        let capabilities = Capabilities::from_key([7; 32]);
        assert_eq!(
            format!("{capabilities:?} {:?}", capabilities.operator_token()),
            "Capabilities(..) Token(..)"
        );
    }
}
