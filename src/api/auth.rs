//! Who asks: a JSON web token in `Authorization: Bearer …`, signed by the product.
//!
//! Claims: `exp` (required), `nbf`; `workspace_id`, or `workspaces` (a list), for what the token may see; or `sub`, a
//! user's id, for the workspaces that this user owns or is a member of.

use axum::extract::FromRequestParts;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use billing::store;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;

use super::ApiState;
use crate::web::refuse;

/// Clocks of two machines may differ by so much, in seconds.
const LEEWAY: i64 = 60;

/// The key that tokens are verified with. Never shown.
#[derive(Clone)]
pub(crate) struct TokenKey {
    key: DecodingKey,
    algorithm: Algorithm,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKey({:?}, ***)", self.algorithm)
    }
}

impl TokenKey {
    /// A shared secret, for HS256.
    pub(crate) fn shared(secret: &str) -> Self {
        Self { key: DecodingKey::from_secret(secret.as_bytes()), algorithm: Algorithm::HS256 }
    }

    /// A public key in PEM, for RS256, ES256 or `EdDSA`; the key itself says which. `None`: it is none of them.
    pub(crate) fn public(pem: &str) -> Option<Self> {
        let pem = pem.as_bytes();
        let of =
            |key: jsonwebtoken::errors::Result<DecodingKey>, algorithm| key.ok().map(|key| Self { key, algorithm });
        of(DecodingKey::from_rsa_pem(pem), Algorithm::RS256)
            .or_else(|| of(DecodingKey::from_ec_pem(pem), Algorithm::ES256))
            .or_else(|| of(DecodingKey::from_ed_pem(pem), Algorithm::EdDSA))
    }

    #[cfg(test)]
    pub(super) fn accepts(&self, token: &str, now: i64) -> bool {
        self.claims(token, now).is_some()
    }

    fn claims(&self, token: &str, now: i64) -> Option<Claims> {
        // Only the key's own algorithm: what the token says of itself is no authority. Time is checked by our clock.
        let mut validation = Validation::new(self.algorithm);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let claims = decode::<Claims>(token, &self.key, &validation).ok()?.claims;
        let begun = claims.nbf.is_none_or(|nbf| nbf <= now.saturating_add(LEEWAY));
        (now < claims.exp.saturating_add(LEEWAY) && begun).then_some(claims)
    }
}

#[derive(Clone, Debug, Deserialize)]
struct Claims {
    exp: i64,
    nbf: Option<i64>,
    sub: Option<String>,
    workspace_id: Option<String>,
    #[serde(default)]
    workspaces: Vec<String>,
}

/// Somebody with a token that holds.
pub(crate) struct Caller(Claims);

impl Caller {
    /// Whether the caller may see a workspace. Nobody learns which workspaces there are.
    pub(crate) async fn may_see(&self, state: &ApiState, workspace_id: &str) -> sqlx::Result<bool> {
        let Self(claims) = self;
        if claims.workspace_id.as_deref() == Some(workspace_id) || claims.workspaces.iter().any(|id| id == workspace_id)
        {
            return Ok(true);
        }
        match &claims.sub {
            Some(user) => store::is_member(&state.db, workspace_id, user).await,
            None => Ok(false),
        }
    }
}

impl FromRequestParts<ApiState> for Caller {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Response> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix("Bearer ")).map(str::trim);
        let now = state.clock.now().timestamp();
        token.and_then(|token| state.key.claims(token, now)).map(Self).ok_or_else(|| {
            let mut answer = refuse(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "send Authorization: Bearer with a token that is signed, not expired, and has an exp",
            );
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            answer
        })
    }
}
