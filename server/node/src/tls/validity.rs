//! Until when a certificate holds, and what else makes clients refuse it, as words for the log.

use std::time::Duration;

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage};

/// So long before its end a certificate is warned of.
const WARN_BEFORE: Duration = Duration::from_secs(14 * 86_400);

/// Why clients that check this certificate refuse it, or soon will; `now` is the time since 1970. None
/// if the certificate itself gives no reason: who signed it is for the clients to judge.
pub(super) fn warning(certificate: &CertificateDer<'_>, now: Duration) -> Option<String> {
    match judge(certificate, now)? {
        Error::CertExpired { not_after, .. } => {
            Some(format!("the certificate expired on {}", day(not_after)))
        }
        Error::CertNotValidYet { not_before, .. } => {
            Some(format!("the certificate is not valid before {}", day(not_before)))
        }
        Error::CaUsedAsEndEntity => {
            Some("the certificate is that of an authority (CA:TRUE), which most clients refuse from a server".into())
        }
        _ => match judge(certificate, now + WARN_BEFORE)? {
            Error::CertExpired { not_after, .. } => {
                Some(format!("the certificate expires on {}", day(not_after)))
            }
            _ => None,
        },
    }
}

/// What speaks against the certificate before anybody asks who signed it.
fn judge(certificate: &CertificateDer<'_>, now: Duration) -> Option<Error> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let (time, usage) = (UnixTime::since_unix_epoch(now), KeyUsage::server_auth());
    // Without any trust anchor this always fails; the certificate's own faults are found first.
    parsed.verify_for_usage(&[], &[], &[], time, usage, None, None).err()
}

/// A day as people write it.
pub(super) fn day(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| format!("second {seconds}"), |time| time.strftime("%F").to_string())
}
