//! A ledger in the same process, without HTTP between.

use client::{
    Client, Transport,
    transport::{Answers, Question, Refusal},
};
use std::{pin::Pin, sync::Arc};

#[derive(Debug)]
struct InProcess(rpc::Local);

impl Transport for InProcess {
    fn ask<'a>(
        &'a self,
        questions: &'a [Question<'a>],
    ) -> Pin<Box<dyn Future<Output = Answers> + Send + 'a>> {
        Box::pin(async move {
            let mut answers = Vec::new();
            for Question { method, params } in questions {
                let answer = self.0.call(method, params).await;
                answers.push(answer.map_err(|object| Refusal {
                    code: object.code(),
                    message: object.message().to_owned(),
                    data: object.data().map(|raw| serde_json::from_str(raw.get()).unwrap()),
                }));
            }
            Ok(answers)
        })
    }
}

/// A client of a ledger in this process.
pub(crate) async fn client(ledger: consensus::Ledger, options: client::Options) -> Client {
    let local = rpc::Local::new(ledger, Default::default()).unwrap();
    let options = client::Options { chain_id: Some(crate::real::CHAIN_ID), ..options };
    Client::connect_over("here", Arc::new(InProcess(local)), options).await.unwrap()
}
