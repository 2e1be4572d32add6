//! Evidence over iroh: the same requests as over HTTP, from agents behind home routers.

use crate::http::Api;
use bytes::Bytes;
use evidence::wire::{Answers, Request, Response, Submit};
use futures::{FutureExt as _, future::BoxFuture};
use transport::{Handler, Refusal, code};

impl Handler for Api {
    /// Files are read whole; everything else is short.
    fn answer_max(&self, header: &[u8]) -> usize {
        match Request::from_bytes(header) {
            Ok(Request::Submit) | Err(_) => evidence::wire::SUBMIT_MAX,
            Ok(_) => usize::MAX,
        }
    }

    fn handle(
        &self,
        _: [u8; 32],
        header: Vec<u8>,
        body: Bytes,
    ) -> BoxFuture<'_, Result<(Vec<u8>, Bytes), Refusal>> {
        async move {
            let malformed = |error: String| Refusal::new(code::MALFORMED, error);
            let failed = |error: String| Refusal::new(code::FAILED, error);
            let request =
                Request::from_bytes(&header).map_err(|error| malformed(error.to_string()))?;
            let file = match request {
                Request::Submit => {
                    let submit =
                        Submit::from_bytes(&body).map_err(|error| malformed(error.to_string()))?;
                    let answers = self.submit(submit).await;
                    let answers =
                        answers.ok_or_else(|| failed("no evidence is taken in".into()))?;
                    let answers = Answers { answers }.to_bytes();
                    return Ok((Response::Answers.to_bytes(), answers.into()));
                }
                Request::Inputs(network, epoch) => {
                    self.archive().inputs_bytes(network, epoch).await
                }
                Request::Statement(network, epoch) => {
                    self.archive().statement_bytes(network, epoch).await
                }
            };
            Ok(match file.map_err(|error| failed(error.to_string()))? {
                Some(bytes) => (Response::File.to_bytes(), bytes),
                None => (Response::Missing.to_bytes(), Bytes::new()),
            })
        }
        .boxed()
    }
}
