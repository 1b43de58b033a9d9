//! What each path answers, limits, and the token.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    body,
    metrics::Metrics,
    model::{Busy, Model, Refused, Request},
    openapi,
    wire::{Content, Form},
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, Request as HttpRequest, State as Shared},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};

/// The text of an answer while the process of the model is started.
const STARTING: &str = "the model is being started again: try again in a second";
/// Time beyond that of a request in which its answer is made.
const GRACE: Duration = Duration::from_millis(500);

/// Who is answered.
pub struct Access {
    /// The token that requests need.
    pub token: Option<String>,
    /// Whether the server listens on the loopback: then only requests to the loopback by name are
    /// answered, so that no web page can reach it under a name of its own.
    pub loopback: bool,
}

/// Limits of a request.
pub struct Limits {
    /// Bytes of its body.
    pub body: usize,
    /// Samples in it.
    pub samples: usize,
    /// Time for all of it.
    pub time: Duration,
}

/// What all requests share.
pub struct State {
    pub access: Access,
    pub limits: Limits,
    pub model: Model,
    pub metrics: Arc<Metrics>,
}

/// The paths of the server.
pub fn router(state: Arc<State>) -> Router {
    Router::new()
        .route("/predict", post(predict))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(document))
        .fallback(async || {
            error(StatusCode::NOT_FOUND, "there is no such path; /openapi.json lists all")
        })
        .method_not_allowed_fallback(async || {
            error(StatusCode::METHOD_NOT_ALLOWED, "this path has another method; see /openapi.json")
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&state), guard))
        .with_state(state)
}

/// An error as JSON.
fn error(status: StatusCode, text: &str) -> Response {
    let body = serde_json::json!({ "error": text }).to_string() + "\n";
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// The answer to a request that did not arrive in time.
fn too_slow() -> Response {
    error(StatusCode::REQUEST_TIMEOUT, "the request took longer than the server allows")
}

/// Checks host and token, limits the time, counts.
async fn guard(Shared(state): Shared<Arc<State>>, request: HttpRequest, next: Next) -> Response {
    let begin = Instant::now();
    let refused = refusal(&state.access, &request);
    let response = match refused {
        Some(response) => response,
        None => {
            let answered = tokio::time::timeout(state.limits.time + GRACE, next.run(request));
            answered.await.unwrap_or_else(|_| too_slow())
        }
    };
    state.metrics.request(response.status().as_u16(), begin.elapsed());
    response
}

/// Why a request is not answered.
fn refusal(access: &Access, request: &HttpRequest) -> Option<Response> {
    let headers = request.headers();
    if access.loopback {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri().authority().map(|host| host.as_str()));
        if !host.is_some_and(is_loopback) {
            return Some(error(
                StatusCode::MISDIRECTED_REQUEST,
                "this server answers only requests to localhost, 127.0.0.1 or [::1]",
            ));
        }
    }
    let token = access.token.as_ref()?;
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|given| given.to_str().ok())
        .and_then(|given| given.strip_prefix("Bearer "));
    if given.is_some_and(|given| same(given.trim().as_bytes(), token.as_bytes())) {
        return None;
    }
    let mut response = error(
        StatusCode::UNAUTHORIZED,
        "the token is missing or wrong: send it as `Authorization: Bearer TOKEN`",
    );
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    Some(response)
}

/// Whether a `Host` names the loopback.
fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Compares two texts in a time that does not depend on where they differ.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).fold(0, |all, (one, other)| all | (one ^ other)) == 0
}

async fn health(Shared(state): Shared<Arc<State>>) -> Response {
    if !state.model.is_open() {
        return error(StatusCode::SERVICE_UNAVAILABLE, STARTING);
    }
    let body = serde_json::json!({ "status": "ok", "model": state.model.about.run }).to_string();
    ([(header::CONTENT_TYPE, "application/json")], body + "\n").into_response()
}

async fn metrics(Shared(state): Shared<Arc<State>>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], state.metrics.text()).into_response()
}

async fn document(Shared(state): Shared<Arc<State>>) -> Response {
    let token = state.access.token.is_some();
    let body = openapi::document(&state.model.about, token).to_string();
    ([(header::CONTENT_TYPE, "application/json")], body + "\n").into_response()
}

/// Options of a request whose body is a file.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    #[serde(default)]
    top: usize,
    #[serde(default)]
    probabilities: bool,
    #[serde(default)]
    raw: bool,
}

async fn predict(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    query: Result<Query<Options>, axum::extract::rejection::QueryRejection>,
    body: Body,
) -> Response {
    let deadline = Instant::now() + state.limits.time;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let limit = state.limits.body;
    let too_long = || {
        error(
            StatusCode::PAYLOAD_TOO_LARGE,
            &format!("the body has more than {limit} bytes: send the samples in several requests"),
        )
    };
    if length
        .and_then(|length| length.parse::<u64>().ok())
        .is_some_and(|length| length > limit as u64)
    {
        return too_long();
    }
    let read = axum::body::to_bytes(body, limit);
    let read = tokio::time::timeout_at(tokio::time::Instant::from_std(deadline), read);
    let bytes: Bytes = match read.await {
        Err(_) => return too_slow(),
        Ok(Ok(bytes)) => bytes,
        Ok(Err(problem)) => {
            let is_limit = std::error::Error::source(&problem)
                .is_some_and(|source| source.to_string().contains("length limit"));
            return if is_limit {
                too_long()
            } else {
                error(StatusCode::BAD_REQUEST, &format!("the body cannot be read: {problem}"))
            };
        }
    };
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let about = &state.model.about;
    let (content, form) = match kind.as_str() {
        "application/json" => match body::of_json(&bytes, about, state.limits.samples) {
            Ok(read) => read,
            Err(text) => return error(StatusCode::UNPROCESSABLE_ENTITY, &text),
        },
        "text/csv" | "application/octet-stream" if about.files.is_some() => {
            let Query(Options { top, probabilities, raw }) = match query {
                Ok(query) => query,
                Err(problem) => return error(StatusCode::BAD_REQUEST, &problem.body_text()),
            };
            (Content::File(bytes.to_vec()), Form { top, probabilities, raw })
        }
        _ => {
            let files =
                if about.files.is_some() { ", text/csv or application/octet-stream" } else { "" };
            return error(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                &format!("the content type has to be application/json{files}"),
            );
        }
    };
    let request = Request { content, form, most: state.limits.samples, deadline };
    let mut waiting = match state.model.submit(request) {
        Ok(waiting) => waiting,
        Err(busy) => {
            let text = match busy {
                Busy::Full => "too many requests wait: try again in a second",
                Busy::Starting => STARTING,
            };
            let mut response = error(StatusCode::SERVICE_UNAVAILABLE, text);
            let second = header::HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, second);
            return response;
        }
    };
    let until = tokio::time::Instant::from_std(deadline);
    let Ok(answer) = tokio::time::timeout_at(until, waiting.answer()).await else {
        return error(
            StatusCode::GATEWAY_TIMEOUT,
            "the model did not answer within the time that the server allows",
        );
    };
    match answer {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(Refused::Input(text)) => error(StatusCode::UNPROCESSABLE_ENTITY, &text),
        Err(Refused::Model(text)) => {
            error(StatusCode::INTERNAL_SERVER_ERROR, &format!("the model failed: {text}"))
        }
        Err(Refused::Crashed(text)) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            &format!("the model ended before it answered: {text}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_loopback_are_local() {
        for local in
            ["localhost", "LOCALHOST:80", "127.0.0.1:8088", "127.8.0.1", "[::1]:8088", "[::1]"]
        {
            assert!(is_loopback(local), "{local}");
        }
        for other in
            ["evil.example", "localhost.evil.example:80", "10.0.0.1", "", "[::2]", "127.0.0.1.evil"]
        {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn tokens_are_compared_as_a_whole() {
        assert!(same(b"abc", b"abc"));
        assert!(!same(b"abc", b"abd") && !same(b"abc", b"ab") && !same(b"", b"a"));
    }
}
