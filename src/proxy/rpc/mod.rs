//! One RPC's life. May this peer still ask? Is the request proper? Does the policy allow it? Gather
//! the body whole. Wait for a slot. May it still pass, with these arguments? Only then call noded,
//! and answer.
//!
//! The log line is the last step, and [`answer`] never reaches it: when it returns, the reply has
//! yet to go to the client. hyper drops the [`ReplyBody`] when the last byte was handed over or the
//! client has left, and the drop writes the line of the `Record` that rides on it. If the client is
//! still sending, the line waits for how that ends.

mod logged;
mod policy;
mod record;
mod refused;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, EXPECT, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::oneshot;

use crate::proxy::http::{Arrival, Body, Framing, Refusal, ReplyBody, explanation, procedure};
use crate::proxy::metrics::Terminated;
use crate::proxy::reason::Cause;
use crate::proxy::shared::Shared;
use crate::proxy::upstream::{Error, NodedStream, Reply, Slot};
use record::Record;
use refused::Refused;
use rules::Named;
use rules::authz::{Denied, Permit};
use rules::master::Role;

pub use logged::LoggedRpcs;
pub use record::Client;

/// Answers one request. Every outcome is a response, and every response has its log line, or is
/// left out of the log by choice.
pub async fn answer(
    shared: Arc<Shared>,
    client: Arc<Client>,
    arrival: Arrival,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    let last = !matches!(arrival.verdict, Ok(Framing::Length(_)));
    let mut response = respond(shared, client, arrival, request).await;
    if last {
        is_last(&mut response);
    }
    Ok(response)
}

/// hyper takes no request of this connection any more.
fn is_last(response: &mut Response<ReplyBody>) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
}

async fn respond(
    shared: Arc<Shared>,
    client: Arc<Client>,
    arrival: Arrival,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    let (head, mut incoming) = request.into_parts();
    let mut record = Record::new(shared, client, arrival.unanswered);
    let prepared = match arrival.verdict {
        Ok(_) => record.prepare(&head, &mut incoming).await,
        Err(refusal) => Err(refusal.into()),
    };
    let refused = match prepared {
        Ok(prepared) => return record.forward(prepared).await,
        Err(refused) => refused,
    };
    // A client that waits for "100 Continue" sends nothing more once it is refused.
    if !head.headers.contains_key(EXPECT) && !incoming.is_end_stream() {
        let (shared, (told, rest)) = (Arc::clone(&record.shared), oneshot::channel());
        record.rest = Some(rest);
        let discard = async move { told.send(shared.bodies.discard(incoming).await) };
        record.shared.tasks.spawn(discard);
    }
    record.refuse(refused)
}

/// A request that noded may execute: whole, admitted and allowed at this moment, with its slot.
struct Prepared {
    permit: Permit,
    /// The role in which the policy allows it; none without a policy.
    judged: Option<Role>,
    slot: Slot<NodedStream>,
    body: Body,
}

impl Record {
    /// All that comes before the first byte to noded. Body and queue may take hours, so who may
    /// command noded, and with what, is asked three times: with the head, with the last byte, and
    /// with the slot. [`Record::forward`] asks once more, when there is a connection to noded.
    async fn prepare(
        &mut self,
        head: &Parts,
        incoming: &mut Incoming,
    ) -> Result<Prepared, Refused> {
        let judged = self.decide(head)?;
        let (shared, digest) = (Arc::clone(&self.shared), self.client.peer.digest);
        let gathering = shared.bodies.gather(digest, incoming);
        let body = self.while_admitted(Terminated::Body, gathering).await??;
        self.request_bytes = body.length();
        let (judged, _) = self.judge_again(judged, &body).await?;
        let begun = Instant::now();
        let waiting = shared.upstream.slot(digest, &self.procedure);
        let slot = self.while_admitted(Terminated::Queued, waiting).await;
        self.timing.queue = begun.elapsed();
        let slot = slot?.map_err(Refused::Upstream)?;
        let (judged, permit) = self.judge_again(judged, &body).await?;
        Ok(Prepared {
            permit,
            judged,
            slot,
            body,
        })
    }

    /// May the peer command noded by the map of this moment, and through this process?
    fn authorise(&self) -> Result<Permit, Refused> {
        if self.shared.superseded.is_cancelled() {
            return Err(Refused::Upstream(Error::Superseded));
        }
        let authorised = self.shared.store.authorise(&self.client.peer);
        Ok(authorised.map_err(Refusal::Denied)?)
    }

    /// Does `work`, but no longer than the peer is admitted and this process may pass its request.
    async fn while_admitted<T>(
        &self,
        step: Terminated,
        work: impl Future<Output = T>,
    ) -> Result<T, Refused> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            denied = self.denied() => {
                self.shared.metrics.terminated.of(denied, step).inc();
                Err(Refusal::Denied(denied).into())
            }
            () = self.shared.superseded.cancelled() => Err(Refused::Upstream(Error::Superseded)),
        }
    }

    /// Returns when the peer is no longer admitted.
    async fn denied(&self) -> Denied {
        let mut changes = self.shared.store.subscribe();
        loop {
            if let Err(denied) = self.shared.store.authorise(&self.client.peer) {
                return denied;
            }
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Record {
    /// Three questions: may the peer still ask, is the request proper, does the policy allow it?
    /// Returns for which role the policy is content with all arguments.
    fn decide(&mut self, head: &Parts) -> Result<Option<Role>, Refused> {
        let permit = self.authorise()?;
        self.key = permit.key().into();
        self.procedure = procedure(&head.method, &head.uri, head.version, &head.headers)?.into();
        Ok(self.ask_policy(&permit)?)
    }

    /// Asks the admission rule again, and the policy unless it was content with the caller in the
    /// same role. Returns the role that it is content with now.
    async fn judge_again(
        &self,
        judged: Option<Role>,
        body: &Body,
    ) -> Result<(Option<Role>, Permit), Refused> {
        let permit = self.authorise()?;
        if self.shared.policy.is_empty() {
            return Ok((None, permit));
        }
        let role = self.role(&permit);
        if judged != Some(role) {
            self.judge(role, body).await?;
        }
        Ok((Some(role), permit))
    }

    /// Calls noded and passes its answer on. If the client leaves, noded works on, and the log line
    /// is written when it has answered.
    async fn forward(self, prepared: Prepared) -> Response<ReplyBody> {
        let Prepared {
            permit,
            judged,
            slot,
            body,
        } = prepared;
        let (shared, begun) = (Arc::clone(&self.shared), Instant::now());
        let (peer, procedure) = (self.client.peer.digest, self.procedure.clone());
        let (store, client) = (Arc::clone(&shared.store), Arc::clone(&self.client));
        let superseded = shared.superseded.clone();
        let may_go = move || {
            let permit = store.authorise(&client.peer);
            let role = |permit: &Permit| store.current().role(permit, &client.peer);
            match permit {
                _ if superseded.is_cancelled() => Err(Error::Superseded),
                Ok(permit) if judged.is_none_or(|judged| judged == role(&permit)) => Ok(()),
                _ => Err(Error::Withdrawn),
            }
        };
        let answered = move |result| self.answered(result, begun);
        let what = (peer, &*procedure, body);
        let call = shared.upstream.call(&permit, slot, what, may_go, answered);
        call.await
    }

    /// Makes the response of what noded has answered.
    fn answered(mut self, result: Result<Reply, Error>, begun: Instant) -> Response<ReplyBody> {
        self.timing.upstream = begun.elapsed();
        match result {
            Ok(reply) => {
                self.status = reply.status;
                let body = reply.body.on_end(Box::new(self)); // there the log line is written
                let mut response = Response::new(body);
                *response.status_mut() = reply.status;
                response
            }
            Err(error) => self.fail(&error),
        }
    }

    /// The response to a call that failed.
    fn fail(mut self, error: &Error) -> Response<ReplyBody> {
        self.reason = Some(error.name());
        self.refused = matches!(error, Error::Withdrawn | Error::Superseded);
        let why = self.shared.upstream.describe(error);
        let refused = self.refused;
        let mut response = self.explain(error.status(), why);
        if refused {
            is_last(&mut response); // as below
        }
        response
    }

    /// Answers a request that never reaches noded.
    fn refuse(mut self, refused: Refused) -> Response<ReplyBody> {
        match refused {
            Refused::Request(refusal) => self.refuse_request(&refusal),
            Refused::Policy(why) => {
                let why = why.to_string();
                self.remember(Cause::Policy, &why);
                self.explain(StatusCode::FORBIDDEN, why)
            }
            Refused::Upstream(error) => self.fail(&error),
        }
    }

    fn refuse_request(mut self, refusal: &Refusal) -> Response<ReplyBody> {
        self.shared.metrics.requests.refused.of(refusal).inc();
        self.remember(refusal.clone().into(), &refusal.to_string());
        let mut response = self.explain(refusal.status(), refusal.to_string());
        if *refusal == Refusal::Method {
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(Method::POST.as_str()));
        }
        if matches!(refusal, Refusal::Denied(_)) {
            is_last(&mut response); // the word that the map has changed may still be on its way
        }
        response
    }

    /// For `/status` and `explain --peer`.
    fn remember(&mut self, cause: Cause, why: &str) {
        (self.refused, self.reason) = (true, Some(cause.name()));
        let (address, peer) = (self.client.address, &self.client.peer);
        let refusals = &self.shared.refusals;
        refusals.add_request(address, cause, why, peer, &self.procedure);
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
