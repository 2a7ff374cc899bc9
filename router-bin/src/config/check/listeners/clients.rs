//! What a `[[listener]]` says about certificates of clients. They are read and checked, so that what is wrong is told with its
//! line.

use std::path::PathBuf;

use router_core::tls::Demand;

use super::super::{
    super::{ClientFiles, complaint::Complaints, raw::RawListener, table::At},
    certificates::beside,
};

/// What `client_certificates`, `client_ca`, `client_crl` and `client_cert_header` mean.
pub(super) fn check(raw: &RawListener, complaints: &mut Complaints<'_>) -> Option<ClientFiles> {
    let RawListener { client_ca, client_crl, client_cert_header, .. } = raw;
    let demand = raw.client_certificates.as_ref().and_then(|written| demand(written, complaints));
    let Some((demand, written)) = demand.zip(raw.client_certificates.as_ref()) else {
        let files = client_ca.as_ref().or(client_crl.as_ref()).map(|list| &list.at);
        if let Some(at) = files.or(client_cert_header.as_ref().map(|written| &written.at))
            && raw.client_certificates.is_none()
        {
            let said = "no client is asked for a certificate here; write client_certificates = \"required\" or \
                        \"optional\", too";
            complaints.add(at, said);
        }
        return None;
    };
    if raw.tls.is_none() {
        let said = "only a client that speaks TLS has a certificate; write tls = \"intermediate\", too";
        complaints.add(&written.at, said);
    }
    let Some(authorities) = client_ca.as_ref().filter(|list| !list.value.is_empty()) else {
        let said =
            "it must be said who signs the certificates of clients; write client_ca = [\"clients-ca.pem\"]";
        complaints.add(&written.at, said);
        return None;
    };
    let files = ClientFiles {
        demand,
        authorities: paths(Some(authorities), complaints),
        lists: paths(client_crl.as_ref(), complaints),
        passed_on: client_cert_header.as_ref().is_some_and(|written| written.value),
    };
    files.load().map_err(|error| complaints.add(&authorities.at, error.to_string())).ok()?;
    Some(files)
}

/// `None`: clients are not asked.
fn demand(written: &At<String>, complaints: &mut Complaints<'_>) -> Option<Demand> {
    match written.value.as_str() {
        "off" => None,
        "optional" => Some(Demand::Optional),
        "required" => Some(Demand::Required),
        other => {
            let advice = "write \"off\", \"optional\" or \"required\"";
            complaints.add(&written.at, format!("`client_certificates` is {other:?}; {advice}"));
            None
        }
    }
}

fn paths(list: Option<&At<Vec<At<String>>>>, complaints: &Complaints<'_>) -> Vec<PathBuf> {
    list.iter().flat_map(|list| &list.value).map(|written| beside(complaints.folder(), written)).collect()
}
