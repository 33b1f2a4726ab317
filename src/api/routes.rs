//! What the API answers.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use billing::rules::billing_of;
use billing::store::{self, PriceRow};
use billing::{Catalogue, Plan};
use serde::Serialize;

use super::ApiState;
use super::auth::Caller;
use crate::web::refuse;

#[derive(Serialize)]
struct Plans<'a> {
    /// The plans of the settings, the lowest first.
    plans: &'a [Plan],
    /// Stripe's catalogue, as far as events told of it.
    prices: Vec<Price>,
}

#[derive(Serialize)]
struct Price {
    #[serde(flatten)]
    row: PriceRow,
    /// The plan that this price means.
    plan: Option<String>,
}

/// `GET /v1/plans`
pub(super) async fn plans(State(state): State<ApiState>, _caller: Caller) -> Response {
    match store::list_prices(&state.db).await {
        Ok(rows) => {
            let catalogue = &state.policy.catalogue;
            let prices = rows.into_iter().map(|row| Price { plan: plan_of(catalogue, &row), row }).collect();
            Json(Plans { plans: catalogue.plans(), prices }).into_response()
        }
        Err(error) => failed(&error),
    }
}

fn plan_of(catalogue: &Catalogue, row: &PriceRow) -> Option<String> {
    let by_key = || catalogue.plan_of_price(row.lookup_key.as_deref()?);
    catalogue.plan_of_price(&row.id).or_else(by_key).map(|plan| plan.id.clone())
}

/// `GET /v1/workspaces/{id}/billing`
pub(super) async fn billing(State(state): State<ApiState>, caller: Caller, Path(id): Path<String>) -> Response {
    match caller.may_see(&state, &id).await {
        Ok(true) => {}
        Ok(false) => return refuse(StatusCode::FORBIDDEN, "forbidden", "this token is not for that workspace"),
        Err(error) => return failed(&error),
    }
    match store::find_workspace(&state.db, &id).await {
        Ok(Some(row)) => {
            let policy = &state.policy;
            let now = state.clock.now();
            Json(billing_of(row.subject(), row.state(), &policy.catalogue, &policy.rules, now)).into_response()
        }
        Ok(None) => refuse(StatusCode::NOT_FOUND, "not_found", "there is no such workspace"),
        Err(error) => failed(&error),
    }
}

fn failed(error: &sqlx::Error) -> Response {
    tracing::warn!(%error, "the database does not answer the API");
    unavailable()
}

pub(super) fn unavailable() -> Response {
    refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the database does not answer now; try again")
}
