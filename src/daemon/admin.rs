//! The admin listener: plain HTTP for operators, on loopback by default. It changes nothing.
//!
//! | endpoint | answer |
//! | --- | --- |
//! | `GET /metrics` | Prometheus text format 0.0.4 |
//! | `GET /healthz` | JSON `{"live", "ready", "degraded", "reasons"}`; 200 when ready, else 503 |
//! | `GET /healthz/live` | 200 as long as the process answers |
//! | `GET /certs` | JSON: the client CA list and what is known of each candidate's certificate |
//! | `GET /status` | JSON: version, uptime, map, certificate, connections, slots, last refusals |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tracing::debug;

use crate::commands::certs;
use crate::daemon::metrics::Metrics;
use crate::daemon::sandbox::Layer;
use crate::proxy::shared::Shared;
use rules::Named;
use rules::admission::Admission;
use rules::authz::Mode;

/// Time for a request's head; scrapers send theirs at once.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A certificate that ends sooner than this makes the proxy degraded; Ganeti's own threshold
/// (`lib/constants.py`, `SSL_CERT_EXPIRATION_ERROR`).
const EXPIRY_WARNING: i64 = 7 * 86_400;

/// What the admin listener shows.
#[derive(Debug)]
pub struct Admin {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    listening: Mutex<Vec<SocketAddr>>,
}

impl Admin {
    /// Shows the state of `shared`, and the metrics.
    pub fn new(shared: Arc<Shared>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            shared,
            metrics,
            listening: Mutex::default(),
        })
    }

    /// Where the public listener listens now; nowhere while there is no `server.pem`.
    pub fn set_listening(&self, addresses: Vec<SocketAddr>) {
        *self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    fn listening(&self) -> Vec<SocketAddr> {
        self.listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Serves for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    debug!(%error, "admin accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let admin = Arc::clone(&self);
            let service = service_fn(move |request| {
                let admin = Arc::clone(&admin);
                async move { Ok::<_, Infallible>(admin.answer(&request)) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    debug!(%error, "admin connection");
                }
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n".into());
        }
        match request.uri().path() {
            "/metrics" => {
                self.metrics.set_load(self.shared.upstream.slots().load());
                let mut response = text(StatusCode::OK, self.metrics.render());
                let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, format);
                response
            }
            "/healthz" => {
                let health = self.health();
                let ready = health["ready"] == json!(true);
                json(
                    if ready {
                        StatusCode::OK
                    } else {
                        StatusCode::SERVICE_UNAVAILABLE
                    },
                    &health,
                )
            }
            "/healthz/live" => text(StatusCode::OK, "live\n".into()),
            "/status" => json(StatusCode::OK, &self.status()),
            "/certs" => {
                let (snapshot, sightings) = (self.shared.store.snapshot(), &self.shared.sightings);
                json(StatusCode::OK, &certs::document(&snapshot, Some(sightings)))
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "/metrics /healthz /healthz/live /status /certs\n".into(),
            ),
        }
    }

    /// Ready: the public listener is open. Degraded: it works, and somebody should look.
    fn health(&self) -> Value {
        let snapshot = self.shared.store.snapshot();
        let draining = self.shared.drain.is_cancelled();
        let ready = !self.listening().is_empty() && !draining;
        let mut reasons: Vec<String> = snapshot.faults.iter().map(ToString::to_string).collect();
        if self.shared.store.policy().mode == Mode::Audit {
            reasons.push("AUDIT MODE: every certificate of this cluster is admitted".into());
        }
        match &snapshot.tls {
            None => {
                reasons.push("there is no server.pem in force: this node is in no cluster".into())
            }
            Some(tls) if tls.server.not_after - now() < EXPIRY_WARNING => {
                reasons.push("server.pem expires within 7 days: gnt-cluster renew-crypto".into());
            }
            Some(_) => {}
        }
        if let Some(why) = self.shared.upstream.down() {
            reasons.push(why);
        }
        if draining {
            reasons.push("draining".into());
        }
        json!({ "live": true, "ready": ready, "degraded": !reasons.is_empty(), "reasons": reasons })
    }

    fn status(&self) -> Value {
        let shared = &self.shared;
        let snapshot = shared.store.snapshot();
        let load = shared.upstream.slots().load();
        let age = snapshot
            .map_loaded
            .and_then(|at| at.elapsed().ok())
            .map(|age| age.as_secs());
        let keys: Vec<Value> = match &snapshot.admission {
            Admission::Listed(map) => map
                .iter()
                .take(100)
                .map(|(key, digest)| json!({ "key": key, "digest": digest.to_string() }))
                .collect(),
            Admission::Bootstrap(_) | Admission::Nobody(_) => Vec::new(),
        };
        let certificate = snapshot.tls.as_ref().map(|tls| {
            json!({
                "digest": tls.server.digest.to_string(),
                "common_name": tls.server.common_name,
                "not_after": tls.server.not_after,
                "expires_in_seconds": tls.server.not_after - now(),
                "shown_to_clients": tls.shown.name(),
            })
        });
        let sandbox = Layer::all()
            .map(|layer| {
                let on = self.metrics.sandbox.of(layer).get() == 1;
                (layer.name().to_owned(), Value::Bool(on))
            })
            .collect();
        let listening: Vec<String> = self.listening().iter().map(ToString::to_string).collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "tls_library": crate::tls::library(),
            "host": shared.host,
            "uptime_seconds": shared.uptime().as_secs(),
            "mode": shared.store.policy().mode.name(),
            "health": self.health(),
            "listening": listening,
            "admission": {
                "phase": snapshot.admission.name(),
                "map_file": snapshot.map_state.name(),
                "entries": snapshot.admission.entries(),
                "map_age_seconds": age,
                "generation": snapshot.generation,
                "master": snapshot.master_node.as_deref(),
                "candidate_addresses": snapshot.candidate_addresses.len(),
                "faults": snapshot.faults.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "candidates": keys,
            },
            "server_pem": certificate,
            "client_ca_list": snapshot.tls.as_ref().map(|tls| certs::ca_list(&tls.client_cas)),
            "certificates_used_by_another_node": certs::used_by_several(&shared.sightings),
            "connections": {
                "open": shared.metrics.open.get(),
                "handshakes": shared.metrics.handshakes.get(),
            },
            "upstream": {
                "address": shared.upstream.address().to_string(),
                "slots": load.most,
                "slots_in_use": load.in_use,
                "waiting": load.waiting,
                "warm": load.warm,
                "down": shared.upstream.down(),
            },
            "sandbox": Value::Object(sandbox),
            "last_refusals": shared.refusals.list(),
        })
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}

fn json(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = text(status, format!("{value:#}\n"));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs() as i64)
}
