//! Why TLS did not come about, in words that say what to do.

use rustls::{AlertDescription, CertificateError, Error as Refused};

use super::NotOpen;

/// Words a failed handshake with the server that was called `name`.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no remedy of its own here is told in the library's words"
)]
pub(super) fn refusal(name: &str, error: &std::io::Error) -> NotOpen {
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>());
    let Some(refused) = refused else {
        return NotOpen::Lost(format!(
            "the connection broke while TLS began ({error}); does the server speak TLS there?"
        ));
    };
    NotOpen::Refused(match refused {
        Refused::InvalidCertificate(error) => {
            format!("its certificate is not accepted: {}", of_certificate(name, error))
        }
        Refused::InvalidMessage(_) => "no TLS is spoken on this port; correct the port, or ask for no TLS \
                                       (redis:// or amqp://, without broker_use_ssl)"
            .to_owned(),
        Refused::AlertReceived(alert) => of_alert(*alert),
        other => other.to_string(),
    })
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no remedy of its own here is told in the library's words"
)]
fn of_certificate(name: &str, error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => "it is signed by no authority that is trusted here; name the \
                                            authority's file as ssl_ca_certs"
            .to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired; renew it on the server (or correct this machine's clock)".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; correct this machine's clock, or the certificate".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => format!(
            "it does not belong to {name:?}; correct the host, name the certificate's as \
             ssl_server_hostname, or do not check it with ssl_check_hostname=false"
        ),
        other => format!("{other}; replace it on the server"),
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "what has no remedy of its own here is told in the library's words"
)]
fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure => format!(
            "the server ended the handshake ({alert:?}); if it asks for a client certificate, give \
             ssl_certfile and ssl_keyfile"
        ),
        AlertDescription::UnknownCA | AlertDescription::BadCertificate | AlertDescription::DecryptError => {
            format!(
                "the server refused the client certificate ({alert:?}); sign ssl_certfile by an authority \
                 that the server trusts"
            )
        }
        other => format!("the server ended the handshake ({other:?})"),
    }
}

/// What TLS 1.3 tells only after the handshake, within a broken connection's cause: what the server
/// thinks of the client's certificate.
pub(crate) fn late_refusal(cause: &str) -> Option<NotOpen> {
    let alerts = [
        AlertDescription::CertificateRequired,
        AlertDescription::UnknownCA,
        AlertDescription::BadCertificate,
        AlertDescription::DecryptError,
    ];
    let alert = alerts
        .iter()
        .find(|alert| cause.contains(&format!("alert: {alert:?}")))?;
    Some(NotOpen::Refused(of_alert(*alert)))
}
