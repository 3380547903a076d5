//! An OpenAPI document (version 3.1), as far as the control socket needs it.

use std::collections::BTreeMap;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Map, Value};

/// How the type of a document is described.
pub(crate) type Shape = fn(&mut SchemaGenerator) -> Schema;

/// The shape of a type.
pub(crate) fn shape<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<T>()
}

/// The verb of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verb {
    Get,
    Post,
}

/// What a request answers if all is well.
pub(crate) enum Answer {
    /// A JSON document, with this status.
    Json(u16, Shape),
    /// Server-sent events whose data are JSON documents of this shape.
    Events(Shape),
    /// Nothing.
    Empty,
    /// This document itself.
    OpenApi,
}

/// A request that is answered.
pub(crate) struct Request {
    pub(crate) verb: Verb,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    /// The document that is sent with it.
    pub(crate) body: Option<Shape>,
    pub(crate) answer: Answer,
}

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct OpenApi {
    openapi: &'static str,
    info: Info,
    paths: BTreeMap<&'static str, BTreeMap<Verb, Operation>>,
    components: Components,
}

#[derive(Debug, Serialize)]
struct Info {
    title: &'static str,
    description: &'static str,
    version: &'static str,
}

#[derive(Debug, Serialize)]
struct Components {
    schemas: Map<String, Value>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    summary: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parameters: Vec<Parameter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body: Option<Body>,
    responses: BTreeMap<String, Response>,
}

#[derive(Debug, Serialize)]
struct Parameter {
    name: String,
    #[serde(rename = "in")]
    place: &'static str,
    required: bool,
    schema: Schema,
}

#[derive(Debug, Serialize)]
struct Body {
    required: bool,
    content: Content,
}

#[derive(Debug, Serialize)]
struct Response {
    description: &'static str,
    #[serde(skip_serializing_if = "Content::is_empty")]
    content: Content,
}

/// By media type.
type Content = BTreeMap<&'static str, Media>;

#[derive(Debug, Serialize)]
struct Media {
    schema: Schema,
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

impl OpenApi {
    /// The description of these requests. `refusal`: what is answered otherwise. `parameter`: what a part of a path in
    /// braces is.
    pub(crate) fn of(requests: &[Request], refusal: Shape, parameter: Shape) -> OpenApi {
        let mut settings = SchemaSettings::draft2020_12().for_serialize();
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
        let mut schemas = settings.into_generator();
        let mut paths: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for request in requests {
            let operation = operation(request, (refusal, parameter), &mut schemas);
            paths.entry(request.path).or_default().insert(request.verb, operation);
        }
        OpenApi {
            openapi: "3.1.0",
            info: Info {
                title: "Lockstone agent",
                description: "The control socket of `lockstone agent`: HTTP over the Unix socket `agent.sock` in the \
                    state folder. Root and the owner of the state folder are answered.",
                version: "1",
            },
            paths,
            components: Components {
                schemas: schemas.take_definitions(true),
            },
        }
    }
}

fn operation(request: &Request, (refusal, parameter): (Shape, Shape), schemas: &mut SchemaGenerator) -> Operation {
    let (status, description, content) = match request.answer {
        Answer::Json(status, shape) => (status, "the answer", one(JSON, shape(schemas))),
        Answer::Events(shape) => (200, "events", one(EVENTS, shape(schemas))),
        Answer::Empty => (204, "done", Content::new()),
        Answer::OpenApi => (200, "the answer", one(JSON, Schema::from(Map::new()))),
    };
    let refused = Response {
        description: "an error",
        content: one(JSON, refusal(schemas)),
    };
    let answered = Response { description, content };
    Operation {
        summary: request.summary,
        parameters: parameters(request.path)
            .map(|name| Parameter {
                name: name.to_owned(),
                place: "path",
                required: true,
                schema: parameter(schemas),
            })
            .collect(),
        request_body: request.body.map(|shape| Body {
            required: true,
            content: one(JSON, shape(schemas)),
        }),
        responses: [(status.to_string(), answered), ("default".to_owned(), refused)].into(),
    }
}

fn one(media: &'static str, schema: Schema) -> Content {
    [(media, Media { schema })].into()
}

/// The parts of a path in braces.
fn parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}
