//! One RPC's life: may this peer still ask, is it a proper request, does the policy allow it, gather the body, call noded, answer, log.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tracing::{info, warn};

use crate::proxy::http::{Body, Refusal, Replies, ReplyBody, discard, explanation, procedure};
use crate::proxy::shared::Shared;
use crate::proxy::upstream::{Error, Timing};
use rules::authz::Permit;
use rules::identity::PeerIdentity;
use rules::policy::{Forbidden, PeerNames, Role};
use rules::procedures::label;

/// The client at the other end of the connection.
#[derive(Debug)]
pub struct Client {
    /// Its address.
    pub address: SocketAddr,
    /// What the handshake proved.
    pub peer: PeerIdentity,
}

/// Answers one request; every outcome becomes a response.
pub async fn answer(
    shared: Arc<Shared>,
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    let (head, incoming) = request.into_parts();
    let mut record = Record::new(shared, client);
    let permit = match record.decide(&head) {
        Ok(permit) => permit,
        Err(refused) => {
            discard(incoming, record.shared.settings.body).await;
            return Ok(match refused {
                Refused::Request(refusal) => record.refuse(refusal),
                Refused::Policy(why) => record.explain(StatusCode::FORBIDDEN, why.to_string()),
            });
        }
    };
    let shared = &record.shared;
    let body = match Body::gather(incoming, shared.settings.body, &shared.budget).await {
        Ok(body) => body,
        Err(refusal) => return Ok(record.refuse(refusal)),
    };
    Ok(record.forward(&permit, body).await)
}

/// Why a request goes no further than its head.
enum Refused {
    Request(Refusal),
    Policy(Forbidden),
}

/// What the log line and the metrics of one RPC need. Made when the head is there, ended with the answer.
struct Record {
    shared: Arc<Shared>,
    client: Arc<Client>,
    start: Instant,
    key: Box<str>,
    procedure: Box<str>,
    request_bytes: u64,
    timing: Timing,
    status: StatusCode,
    why: Option<String>,
}

impl Record {
    fn new(shared: Arc<Shared>, client: Arc<Client>) -> Self {
        Self {
            shared,
            client,
            start: Instant::now(),
            key: "-".into(),
            procedure: "-".into(),
            request_bytes: 0,
            timing: Timing::default(),
            status: StatusCode::OK,
            why: None,
        }
    }

    /// Whether the peer may still ask, whether this is a proper request, and whether the policy lets it pass.
    fn decide(&mut self, head: &Parts) -> Result<Permit, Refused> {
        let authorised = self.shared.store.authorise(&self.client.peer);
        let permit = authorised.map_err(|denied| Refused::Request(Refusal::Denied(denied)))?;
        self.key = permit.key().into();
        let name = procedure(&head.method, &head.uri, head.version, &head.headers);
        self.procedure = name.map_err(Refused::Request)?.into();
        self.ask_policy(&permit).map_err(Refused::Policy)?;
        Ok(permit)
    }

    /// Whether the RPC policy lets this call pass. In audit mode it always does.
    fn ask_policy(&self, permit: &Permit) -> Result<(), Forbidden> {
        let policy = &self.shared.policy;
        if policy.is_empty() {
            return Ok(());
        }
        let snapshot = self.shared.store.current();
        let peer = &self.client.peer;
        let server = snapshot.tls.as_ref().map(|tls| &tls.server);
        let names = PeerNames {
            common_name: peer.common_name.as_deref(),
            cluster: server.and_then(|server| server.common_name.as_deref()),
        };
        let role = Role::of(permit, &names, snapshot.master_node.as_deref());
        let Err(forbidden) = policy.check(&self.procedure, role) else {
            return Ok(());
        };
        let outcome = if policy.audit { "audit" } else { "refused" };
        let labels = [forbidden.list.name(), outcome];
        let counter = &self.shared.metrics.policy_forbidden;
        counter.with_label_values(&labels).inc();
        if !policy.audit {
            return Err(forbidden);
        }
        info!(peer = %self.client.address, cn = peer.name(), digest = %peer.digest,
            procedure = &*self.procedure, why = %forbidden, "policy.audit: forwarded all the same");
        Ok(())
    }

    async fn forward(mut self, permit: &Permit, body: Body) -> Response<ReplyBody> {
        self.request_bytes = body.length();
        let (upstream, peer) = (&self.shared.upstream, &self.client.peer);
        let (result, timing) = upstream.call(permit, peer, &self.procedure, body).await;
        self.timing = timing;
        match result {
            Ok(reply) => {
                self.status = reply.status;
                let body = reply.body.tell(Box::new(self));
                let mut response = Response::new(body);
                *response.status_mut() = reply.status;
                response
            }
            Err(Error::Client(refusal)) => self.refuse(refusal),
            Err(error) => {
                let why = self.shared.upstream.describe(&error);
                self.explain(error.status(), why)
            }
        }
    }

    fn refuse(self, refusal: Refusal) -> Response<ReplyBody> {
        self.shared
            .metrics
            .refused
            .with_label_values(&[refusal.reason()])
            .inc();
        let mut response = self.explain(refusal.status(), refusal.to_string());
        if refusal == Refusal::Method {
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(Method::POST.as_str()));
        }
        response
    }

    fn explain(mut self, status: StatusCode, why: String) -> Response<ReplyBody> {
        let text = explanation(&self.shared.host, &why);
        self.status = status;
        self.why = Some(why);
        let mut response = Response::new(ReplyBody::whole(text).tell(Box::new(self)));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

impl Replies for Record {
    fn ended(self: Box<Self>, sent: u64, complete: bool, error: Option<&Error>) {
        let total = self.start.elapsed();
        let metrics = &self.shared.metrics;
        let procedure = label(&self.procedure);
        metrics
            .rpcs
            .with_label_values(&[procedure, self.status.as_str()])
            .inc();
        metrics
            .rpc_duration
            .with_label_values(&[procedure])
            .observe(total.as_secs_f64());
        let outcome = match (complete, error) {
            (true, _) => "complete",
            (false, Some(_)) => "cut",
            (false, None) => "client_left",
        };
        let why = self
            .why
            .or_else(|| error.map(ToString::to_string))
            .unwrap_or_default();
        let peer = &self.client.peer;
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    peer = %self.client.address,
                    cn = peer.name(),
                    key = &*self.key,
                    digest = %peer.digest,
                    procedure = &*self.procedure,
                    status = self.status.as_u16(),
                    request_bytes = self.request_bytes,
                    reply_bytes = sent,
                    queue_ms = milliseconds(self.timing.queue),
                    upstream_ms = milliseconds(self.timing.upstream),
                    total_ms = milliseconds(total),
                    outcome,
                    why,
                    "rpc"
                )
            };
        }
        if self.status.is_server_error() || outcome == "cut" {
            line!(warn)
        } else {
            line!(info)
        }
    }
}

/// Milliseconds with three decimals, which is all that anybody reads.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}
