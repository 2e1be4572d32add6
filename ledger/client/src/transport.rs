//! What carries questions to a ledger and answers back: HTTP, or whatever stands in its place.
//!
//! A transport asks once. What may be asked again, for how long, and what an answer means is decided above
//! it, so that a simulator that brings a transport of its own runs all of that.

use jsonrpsee::{
    core::{
        client::{ClientT as _, Error},
        params::{ArrayParams, BatchRequestBuilder},
    },
    http_client::HttpClient,
    types::{ErrorObject, ErrorObjectOwned},
};
use serde_json::Value;
use std::{
    fmt::{self, Debug},
    pin::Pin,
};

/// One question: a method of JSON-RPC and its parameters, by position.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The method.
    pub method: &'a str,
    /// Its parameters.
    pub params: &'a [Value],
}

/// The error object that an endpoint answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The JSON-RPC code.
    pub code: i32,
    /// What the endpoint says.
    pub message: String,
    /// What it adds for programs.
    pub data: Option<Value>,
}

/// Why there are no answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nothing answered, in words: it may be asked again.
    Silent(String),
    /// What came is no answer, in words.
    Malformed(String),
    /// All of it was refused.
    Refused(Refusal),
}

/// One answer to each question, in their order.
pub type Answers = Result<Vec<Result<Value, Refusal>>, Failure>;

/// Carries questions to one endpoint.
pub trait Transport: Debug + Send + Sync {
    /// Asks all questions at once, and each once.
    fn ask<'a>(
        &'a self,
        questions: &'a [Question<'a>],
    ) -> Pin<Box<dyn Future<Output = Answers> + Send + 'a>>;
}

/// JSON-RPC over HTTP: one question alone, several as a batch.
#[derive(Debug)]
pub(crate) struct Http(pub(crate) HttpClient);

impl Transport for Http {
    fn ask<'a>(
        &'a self,
        questions: &'a [Question<'a>],
    ) -> Pin<Box<dyn Future<Output = Answers> + Send + 'a>> {
        Box::pin(async move {
            match questions {
                [question] => self.one(question).await.map(|answer| vec![Ok(answer)]),
                questions => self.many(questions).await,
            }
        })
    }
}

impl Http {
    async fn one(&self, question: &Question<'_>) -> Result<Value, Failure> {
        let answer = self.0.request::<Value, _>(question.method, arguments(question)?).await;
        answer.map_err(failure)
    }

    async fn many(&self, questions: &[Question<'_>]) -> Answers {
        let mut builder = BatchRequestBuilder::new();
        for question in questions {
            builder
                .insert(question.method, arguments(question)?)
                .map_err(|error| Failure::Malformed(error.to_string()))?;
        }
        let answers = self.0.batch_request::<Value>(builder).await.map_err(failure)?;
        Ok(answers.into_iter().map(|answer| answer.map_err(|object| refusal(&object))).collect())
    }
}

/// Methods of the same process, without HTTP: asked one after another, so that nothing depends on which of
/// several is faster. `A` gives the answer to a method and its parameters.
pub struct Direct<A>(A);

impl<A> Direct<A> {
    /// Asks `answer`.
    pub const fn new(answer: A) -> Self {
        Self(answer)
    }
}

impl<A> fmt::Debug for Direct<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Direct(..)")
    }
}

impl<A, F> Transport for Direct<A>
where
    A: Fn(String, Vec<Value>) -> F + Send + Sync,
    F: Future<Output = Result<Value, ErrorObjectOwned>> + Send,
{
    fn ask<'a>(
        &'a self,
        questions: &'a [Question<'a>],
    ) -> Pin<Box<dyn Future<Output = Answers> + Send + 'a>> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(questions.len());
            for Question { method, params } in questions {
                let answer = (self.0)((*method).to_owned(), params.to_vec()).await;
                answers.push(answer.map_err(|object| refusal(&object)));
            }
            Ok(answers)
        })
    }
}

fn arguments(question: &Question<'_>) -> Result<ArrayParams, Failure> {
    let mut arguments = ArrayParams::new();
    for param in question.params {
        arguments.insert(param).map_err(|error| Failure::Malformed(error.to_string()))?;
    }
    Ok(arguments)
}

fn failure(error: Error) -> Failure {
    match error {
        Error::Call(object) => Failure::Refused(refusal(&object)),
        Error::ParseError(error) => Failure::Malformed(error.to_string()),
        error => Failure::Silent(reasons(&error)),
    }
}

fn refusal(object: &ErrorObject<'_>) -> Refusal {
    let data = object.data().and_then(|raw| serde_json::from_str(raw.get()).ok());
    Refusal { code: object.code(), message: object.message().to_owned(), data }
}

/// An error and its causes in one line: HTTP clients hide "connection refused" three levels down.
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
