//! How much of a server's certificate is checked.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::broker::options::Options;
use crate::error::{Error, Result};

/// What is checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Checks {
    authority: bool,
    name: bool,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            authority: true,
            name: true,
        }
    }
}

impl Checks {
    /// Reads `ssl_cert_reqs` and `ssl_check_hostname`.
    ///
    /// # Errors
    /// [`Error::BadUrl`] for a value that is none of theirs.
    pub(super) fn of(options: &Options) -> Result<Self> {
        // 0, 1 and 2 are Python's `ssl.CERT_…`. A client knows no middle: OpenSSL checks then, too.
        let authority = match options.word("ssl_cert_reqs")?.as_deref() {
            None | Some("CERT_REQUIRED" | "required" | "2" | "CERT_OPTIONAL" | "optional" | "1") => true,
            Some("CERT_NONE" | "none" | "None" | "0") => false,
            Some(_) => {
                return Err(Error::BadUrl {
                    detail: "transport option \"ssl_cert_reqs\" is CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE"
                        .to_owned(),
                });
            }
        };
        let name = options.flag("ssl_check_hostname")?.unwrap_or(true);
        Ok(Self {
            authority,
            name: authority && name,
        })
    }
}

type Trusted = (RootCertStore, Vec<CertificateDer<'static>>);

/// What rustls asks about a certificate.
pub(super) fn verifier(
    checks: Checks,
    provider: &Arc<CryptoProvider>,
    trusted: impl FnOnce() -> Result<Trusted, String>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    if !checks.authority {
        return Ok(Arc::new(Unchecked(Arc::clone(provider))));
    }
    let (roots, given) = trusted()?;
    let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(Checked {
        chain,
        given,
        checks_name: checks.name,
    }))
}

/// Checks who has signed the certificate, and whose name it has.
#[derive(Debug)]
struct Checked {
    chain: Arc<WebPkiServerVerifier>,
    given: Vec<CertificateDer<'static>>,
    checks_name: bool,
}

impl ServerCertVerifier for Checked {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // A self-signed certificate that was given as its own authority: the chain is itself.
        if self.given.iter().any(|given| given == end_entity) {
            if self.checks_name {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        let verified =
            self.chain
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is looked at last: all else was found good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Takes any certificate, as the user asked: whoever answers is taken for the server.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
