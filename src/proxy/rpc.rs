//! One RPC's life. May this peer still ask? Is the request proper? Does the policy allow it? Gather
//! the body. Do its arguments change that? Call noded, answer. noded never sees what was refused.
//!
//! The log line is the last step, and [`answer`] never reaches it: when it returns, the reply has
//! yet to go to the client. hyper drops the [`ReplyBody`] when the last byte was handed over or the
//! client has left, and the drop calls [`OnEnd::ended`] of the `Record` that rides on it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tracing::{info, warn};

use crate::proxy::http::{Body, Cut, OnEnd, Refusal, ReplyBody, discard, explanation, procedure};
use crate::proxy::metrics;
use crate::proxy::shared::Shared;
use crate::proxy::upstream::{Error, Timing};
use rules::arguments::Value;
use rules::authz::Permit;
use rules::identity::PeerIdentity;
use rules::master::Role;
use rules::policy::{Arguments, FirstLook, Forbidden};
use rules::procedures::label;

/// The client at the other end of the connection.
#[derive(Debug)]
pub struct Client {
    /// Its address.
    pub address: SocketAddr,
    /// What the handshake proved.
    pub peer: PeerIdentity,
}

/// Answers one request. Every outcome is a response, and every response has its log line.
pub async fn answer(
    shared: Arc<Shared>,
    client: Arc<Client>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    let (head, incoming) = request.into_parts();
    let mut record = Record::new(shared, client);
    let (permit, looked) = match record.decide(&head) {
        Ok(decided) => decided,
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
    let judged = match looked {
        FirstLook::Pass => Ok(()),
        // The body may have taken hours: the certificate's key is that of the map of this moment.
        FirstLook::AskAgain => match record.shared.store.authorise(&record.client.peer) {
            Ok(permit) => record.judge(&permit, &body),
            Err(denied) => {
                body.discard(record.shared.settings.body).await;
                return Ok(record.refuse(Refusal::Denied(denied)));
            }
        },
    };
    if let Err(why) = judged {
        body.discard(record.shared.settings.body).await;
        return Ok(record.explain(StatusCode::FORBIDDEN, why.to_string()));
    }
    Ok(record.forward(&permit, body).await)
}

/// Why a request goes no further than its head.
enum Refused {
    Request(Refusal),
    Policy(Forbidden),
}

/// What the log line and the counters of one RPC need. Made when the head is there. Rides on the
/// answer, and is written when that has ended.
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

    /// Three questions: may the peer still ask, is the request proper, does the policy allow it?
    fn decide(&mut self, head: &Parts) -> Result<(Permit, FirstLook), Refused> {
        let authorised = self.shared.store.authorise(&self.client.peer);
        let permit = authorised.map_err(|denied| Refused::Request(Refusal::Denied(denied)))?;
        self.key = permit.key().into();
        let name = procedure(&head.method, &head.uri, head.version, &head.headers);
        self.procedure = name.map_err(Refused::Request)?.into();
        let looked = self.ask_policy(&permit).map_err(Refused::Policy)?;
        Ok((permit, looked))
    }

    /// What the RPC policy says of this call before its arguments are there.
    fn ask_policy(&self, permit: &Permit) -> Result<FirstLook, Forbidden> {
        let policy = &self.shared.policy;
        if policy.is_empty() {
            return Ok(FirstLook::Pass);
        }
        let looked = policy.first_look(&self.procedure, self.role(permit));
        looked.or_else(|why| self.forbid(why).map(|()| FirstLook::Pass))
    }

    /// What the RPC policy says of this call with its arguments.
    fn judge(&self, permit: &Permit, body: &Body) -> Result<(), Forbidden> {
        let arguments = self.arguments(body);
        let arguments = match &arguments {
            Ok(value) => Arguments::Seen(value),
            Err(why) => Arguments::Unseen(why),
        };
        let policy = &self.shared.policy;
        let judged = policy.check(&self.procedure, self.role(permit), arguments);
        judged.or_else(|why| self.forbid(why))
    }

    /// The arguments, read as noded will read them, or why they cannot be.
    fn arguments(&self, body: &Body) -> Result<Value, String> {
        let most = self.shared.settings.body.in_memory;
        let too_long = || format!("more than {most} bytes (limits.body_in_memory)");
        let body = body.contents(most).ok_or_else(too_long)?;
        serde_json::from_slice(&body).map_err(|error| error.to_string())
    }

    /// The caller's role by what is known of the master now.
    fn role(&self, permit: &Permit) -> Role {
        self.shared.store.current().role(permit, &self.client.peer)
    }

    /// Counts what the policy forbids. In audit mode it passes all the same.
    fn forbid(&self, forbidden: Forbidden) -> Result<(), Forbidden> {
        let (policy, peer) = (&self.shared.policy, &self.client.peer);
        let outcome = match policy.audit {
            true => metrics::Forbidden::Audit,
            false => metrics::Forbidden::Refused,
        };
        let counters = &self.shared.metrics.requests.policy_forbidden;
        counters.of(forbidden.list, outcome).inc();
        if !policy.audit {
            return Err(forbidden);
        }
        info!(peer = %self.client.address, cn = peer.name(), digest = %peer.digest,
            procedure = &*self.procedure, why = %forbidden, "policy.audit: forwarded all the same");
        Ok(())
    }

    /// Calls noded and passes its answer on.
    async fn forward(mut self, permit: &Permit, body: Body) -> Response<ReplyBody> {
        self.request_bytes = body.length();
        let (upstream, peer) = (&self.shared.upstream, &self.client.peer);
        let (result, timing) = upstream.call(permit, peer, &self.procedure, body).await;
        self.timing = timing;
        match result {
            Ok(reply) => {
                self.status = reply.status;
                let body = reply.body.on_end(Box::new(self)); // there the log line is written
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

    /// Answers a request that goes no further.
    fn refuse(self, refusal: Refusal) -> Response<ReplyBody> {
        self.shared.metrics.requests.refused.of(&refusal).inc();
        let mut response = self.explain(refusal.status(), refusal.to_string());
        if refusal == Refusal::Method {
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(Method::POST.as_str()));
        }
        response
    }

    /// An answer of our own, in the form that Ganeti shows to its user.
    fn explain(mut self, status: StatusCode, why: String) -> Response<ReplyBody> {
        let text = explanation(&self.shared.host, &why);
        self.status = status;
        self.why = Some(why);
        let mut response = Response::new(ReplyBody::whole(text).on_end(Box::new(self)));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

impl OnEnd for Record {
    fn ended(self: Box<Self>, sent: u64, complete: bool, cut: Option<&Cut>) {
        let total = self.start.elapsed();
        let (procedure, code) = (label(&self.procedure), self.status.as_u16());
        let seconds = total.as_secs_f64();
        self.shared.metrics.count_rpc(procedure, code, seconds);
        let outcome = match (complete, cut) {
            (true, _) => "complete",
            (false, Some(_)) => "cut",
            (false, None) => "client_left",
        };
        let why = self
            .why
            .or_else(|| cut.map(ToString::to_string))
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

/// Milliseconds with three decimals.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}
