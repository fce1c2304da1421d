//! TLS as kombu's and redis-py's options describe it, spoken by rustls on ring.
//!
//! Source: kombu `utils/url.py` (`ssl_…` in a query), `transport/redis.py`; redis-py
//! `SSLConnection`; py-amqp `SSLTransport`. They differ in one point: a certificate is checked, and
//! for the host's name, unless that is turned off.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::NotOpen;
use super::refusal::refusal;
use super::verifier::{Checks, verifier};
use crate::broker::options::Options;
use crate::error::{Error, Result};

/// How to speak TLS with a server. Files are read anew for each connection, so that a renewed
/// certificate is used without a restart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    checks: Checks,
    /// Whom to trust beside, or instead of, the system's authorities.
    authorities: Option<PathBuf>,
    /// Certificate and key, which may be in one file.
    identity: Option<(PathBuf, PathBuf)>,
    /// The name in the server's certificate, where it is not the host's.
    server_name: Option<String>,
    only_newest: bool,
}

impl Tls {
    /// Whether the client has a certificate to show.
    pub(super) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Reads the options; `None` when none of them asks for TLS and the scheme does not either.
    ///
    /// # Errors
    /// [`Error::BadUrl`] names the option or the file that cannot be used.
    pub(crate) fn of(options: &Options, is_asked: bool) -> Result<Option<Self>> {
        options.flag("ssl")?;
        if !is_asked && !options.asks_for_tls() {
            return Ok(None);
        }
        let path = |name: &str| Ok::<_, Error>(options.text(name)?.map(PathBuf::from));
        let certificate = path("ssl_certfile")?;
        let identity = match (certificate, path("ssl_keyfile")?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            // As OpenSSL: the key may follow the certificate in its file.
            (Some(both), None) => Some((both.clone(), both)),
            (None, Some(_)) => {
                return Err(bad(
                    "transport option \"ssl_keyfile\" needs \"ssl_certfile\", the key's certificate",
                ));
            }
            (None, None) => None,
        };
        let tls = Self {
            checks: Checks::of(options)?,
            authorities: path("ssl_ca_certs")?,
            identity,
            server_name: options.text("ssl_server_hostname")?,
            only_newest: only_newest(options)?,
        };
        // A file that cannot be read shows before anything is connected.
        tls.config().map_err(|cause| bad(&cause))?;
        Ok(Some(tls))
    }

    /// Speaks TLS over an open connection.
    pub(super) async fn wrap(&self, host: &str, tcp: TcpStream) -> Result<TlsStream<TcpStream>, NotOpen> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let server_name = ServerName::try_from(name.to_owned()).map_err(|_| {
            NotOpen::Refused(format!(
                "{name:?} is no name that a certificate could have; name the certificate's as \
                 ssl_server_hostname"
            ))
        })?;
        let settings = self.clone();
        let config = tokio::task::spawn_blocking(move || settings.config())
            .await
            .map_err(|error| NotOpen::Lost(error.to_string()))?
            .map_err(NotOpen::Refused)?;
        TlsConnector::from(Arc::new(config))
            .connect(server_name, tcp)
            .await
            .map_err(|error| refusal(name, &error))
    }

    fn config(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions: &[&rustls::SupportedProtocolVersion] = if self.only_newest {
            &[&rustls::version::TLS13]
        } else {
            &[&rustls::version::TLS13, &rustls::version::TLS12]
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier(self.checks, &provider, || self.trusted())?);
        let Some((certificate, key)) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = certificates("ssl_certfile", certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| {
            format!(
                "ssl_keyfile {}: {error}; give a PEM file with a private key that has no password",
                key.display()
            )
        })?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("ssl_certfile {} and its key: {error}", certificate.display()))
    }

    /// The authorities, and what was given as one: OpenSSL takes a server's own certificate, too.
    fn trusted(&self) -> Result<(RootCertStore, Vec<CertificateDer<'static>>), String> {
        let mut roots = RootCertStore::empty();
        let Some(file) = &self.authorities else {
            let system = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(system.certs);
            if roots.is_empty() {
                return Err(
                    "this system has no certificates of authorities; give the server's as ssl_ca_certs"
                        .to_owned(),
                );
            }
            return Ok((roots, Vec::new()));
        };
        let given = certificates("ssl_ca_certs", file)?;
        for certificate in &given {
            roots
                .add(certificate.clone())
                .map_err(|error| format!("ssl_ca_certs {}: {error}", file.display()))?;
        }
        Ok((roots, given))
    }
}

fn certificates(option: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(format!(
            "{option} {}: there is no certificate in it; give a PEM file",
            file.display()
        )),
        Err(error) => Err(format!("{option} {}: {error}; give a PEM file", file.display())),
    }
}

/// The oldest version to speak; rustls speaks none before 1.2.
fn only_newest(options: &Options) -> Result<bool> {
    const NAME: &str = "ssl_min_version";
    // Python's numbers of the versions, and what people write.
    match options.word(NAME)?.as_deref() {
        None | Some("771" | "1.2" | "TLSv1.2" | "TLSv1_2") => Ok(false),
        Some("772" | "1.3" | "TLSv1.3" | "TLSv1_3") => Ok(true),
        Some(_) => Err(bad(
            "transport option \"ssl_min_version\" is 1.2 or 1.3: nothing older is spoken",
        )),
    }
}

fn bad(detail: &str) -> Error {
    Error::BadUrl {
        detail: detail.to_owned(),
    }
}
