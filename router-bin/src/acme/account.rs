//! The account at the ACME server: read from the storage, or made there once.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use tokio::sync::Mutex;

use super::{error::OrderError, files::Files, https};
use crate::{config::acme::Acme, key_file, out};

/// The one account.
pub(super) struct Accounts {
    acme: Arc<Acme>,
    files: Files,
    known: Mutex<Option<Account>>,
}

impl Accounts {
    pub(super) fn new(acme: Arc<Acme>, files: Files) -> Self {
        Self { acme, files, known: Mutex::default() }
    }

    /// The account. Before the first time the server is asked for what it offers.
    ///
    /// # Errors
    /// When the server does not answer, or has no account for us.
    pub(super) async fn get(&self) -> Result<Account, OrderError> {
        let mut known = self.known.lock().await;
        if let Some(account) = &*known {
            return Ok(account.clone());
        }
        let Some(_lock) = self.files.lock("_account")? else {
            return Err(OrderError::Unasked("another router makes the account just now".to_owned()));
        };
        let account = match self.files.account()? {
            Some(text) => self.restore(&text).await?,
            None => self.make().await?,
        };
        *known = Some(account.clone());
        Ok(account)
    }

    /// The server does not know this account: another one is made when it is asked for next.
    pub(super) async fn forget(&self, gone: &Account) -> Result<(), OrderError> {
        let mut known = self.known.lock().await;
        if known.as_ref().is_some_and(|account| account.id() == gone.id()) {
            *known = None;
            self.files.forget_account()?;
            out::note("the ACME server does not know our account any more; a new one is made");
        }
        Ok(())
    }

    fn http(&self) -> Result<Box<https::Https>, OrderError> {
        let roots = https::roots(self.acme.ca_file.as_deref()).map_err(OrderError::Unasked)?;
        Ok(Box::new(https::Https::new(roots).map_err(OrderError::Unasked)?))
    }

    async fn restore(&self, text: &[u8]) -> Result<Account, OrderError> {
        let credentials: AccountCredentials = serde_json::from_slice(text).map_err(|_| {
            let directory = self.files.directory().display();
            OrderError::AccountRefused(format!("{directory}/account.json is damaged"))
        })?;
        Ok(Account::builder_with_http(self.http()?).from_credentials(credentials).await?)
    }

    async fn make(&self) -> Result<Account, OrderError> {
        let contact: Vec<&str> = self.acme.contact.iter().map(String::as_str).collect();
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let external = match &self.acme.external_account {
            None => None,
            Some(external) => {
                let key = external_key(&external.key_file).map_err(OrderError::ExternalAccount)?;
                Some(ExternalAccountKey::new(external.id.clone(), &key))
            }
        };
        let builder = Account::builder_with_http(self.http()?);
        let made = builder.create(&new, self.acme.directory.clone(), external.as_ref()).await;
        let (account, credentials) = made?;
        let text =
            serde_json::to_vec(&credentials).map_err(|error| OrderError::Unasked(error.to_string()))?;
        self.files.keep_account(&text)?;
        out::note(format_args!("made an account at {}", self.acme.directory));
        Ok(account)
    }
}

/// The key in a file, in base64url, which nobody else may read. What it says is not repeated.
pub(crate) fn external_key(file: &std::path::Path) -> Result<Vec<u8>, String> {
    let advice = "write there the key that the certificate authority has given you";
    let text = key_file::secret(file, "eab_key_file", advice).map_err(|failure| failure.to_string())?;
    let key = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
    let key = key.ok().filter(|key| !key.is_empty());
    key.ok_or_else(|| format!("eab_key_file {} is not in base64url; {advice}", file.display()))
}
