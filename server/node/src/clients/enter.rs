//! Who comes in over HTTP, before there is a connection: the plugins of the server are asked.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use keepboth_core::plugin::{Arrival, Credentials};
use keepboth_core::refusal::{Code, Refusal};
use tokio::time::timeout;

use super::Clients;
use super::listener::Reached;
use crate::gates::{Access, Gates};

/// How long plugins may take to say who a client is.
pub const AUTHENTICATE_WITHIN: Duration = Duration::from_secs(10);
/// A subprotocol that carries a token begins so: browsers can send one in no other way.
const TOKEN: &str = "keepboth.token.";

impl Clients {
    /// Asks whether somebody may connect at all, and gives the gates by which he came.
    pub async fn let_in(
        &self,
        reached: &Reached,
        headers: &HeaderMap,
        node: bool,
    ) -> Result<Arc<Gates>, Refused> {
        let gates = self.gates.load_full();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let origin = headers.get(header::ORIGIN).map(text);
        let (address, tls) = (reached.address, reached.binding.is_some());
        let asked = gates.connect(Arrival { address, origin, tls, node });
        match timeout(AUTHENTICATE_WITHIN, asked).await.unwrap_or_else(|_| Err(late())) {
            Ok(()) => Ok(gates),
            Err(refusal) => {
                self.metrics.connections_refused.inc();
                Err(Refused(StatusCode::FORBIDDEN, refusal))
            }
        }
    }

    /// Whether somebody may see the metrics: whoever authenticates needs the right admin on the server.
    pub async fn let_see_metrics(
        &self,
        reached: &Reached,
        headers: &HeaderMap,
    ) -> Result<(), Refused> {
        let gates = self.let_in(reached, headers, false).await?;
        let credentials = Credentials { token: token(headers), address: reached.address };
        let access = who(&gates, credentials).await.map_err(Refused::unknown)?;
        access.need_admin().map_err(|refusal| match refusal.code {
            Code::Unauthenticated => Refused::unknown(refusal),
            _ => Refused(StatusCode::FORBIDDEN, refusal),
        })
    }
}

/// What somebody may do, found out within bounds.
pub async fn who(gates: &Arc<Gates>, credentials: Credentials) -> Result<Access, Refusal> {
    let asked = timeout(AUTHENTICATE_WITHIN, gates.authenticate_by(credentials)).await;
    asked.unwrap_or_else(|_| Err(late()))
}

/// What the token that came with the request allows; None without one: a hello may still bring it.
pub async fn access(
    gates: &Arc<Gates>,
    headers: &HeaderMap,
    address: IpAddr,
) -> Result<Option<Access>, Refused> {
    let Some(token) = token(headers) else { return Ok(None) };
    let access = who(gates, Credentials { token: Some(token), address }).await;
    access.map(Some).map_err(Refused::unknown)
}

fn late() -> Refusal {
    let words = format!("no plugin answered within {} s", AUTHENTICATE_WITHIN.as_secs());
    Refusal::new(Code::Overloaded, words)
}

/// The token of `Authorization: Bearer TOKEN`, or of an offered subprotocol.
fn token(headers: &HeaderMap) -> Option<String> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|text| {
        let (scheme, token) = text.trim().split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(','));
    bearer
        .or_else(|| offered.map(str::trim).find_map(|name| name.strip_prefix(TOKEN)))
        .map(str::to_owned)
}

/// A request that is answered with a status and words.
pub struct Refused(StatusCode, Refusal);

impl Refused {
    fn unknown(refusal: Refusal) -> Refused {
        match refusal.code {
            Code::Overloaded | Code::ShuttingDown | Code::StoreFailed => {
                Refused(StatusCode::SERVICE_UNAVAILABLE, refusal)
            }
            Code::RateLimited => Refused(StatusCode::TOO_MANY_REQUESTS, refusal),
            _ => Refused(StatusCode::UNAUTHORIZED, refusal),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Refused(status, refusal) = self;
        let words = format!("{refusal} [{}]\n", refusal.code);
        let mut response = (status, words).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_token_stands_in_the_authorization_or_in_a_subprotocol() {
        let (bearer, offered) = (header::AUTHORIZATION, header::SEC_WEBSOCKET_PROTOCOL);
        let found = |name: &header::HeaderName, value| token(&headers(name.clone(), value));
        assert_eq!(found(&bearer, "Bearer abc").as_deref(), Some("abc"));
        assert_eq!(found(&bearer, "bearer  abc ").as_deref(), Some("abc"));
        assert_eq!(found(&bearer, "Basic abc"), None);
        assert_eq!(found(&bearer, "Bearer"), None);
        let offer = "keepboth.v1.json, keepboth.token.a-b_c";
        assert_eq!(found(&offered, offer).as_deref(), Some("a-b_c"));
        assert_eq!(found(&offered, "keepboth.v1.json"), None);
        assert_eq!(token(&HeaderMap::new()), None);
    }
}
