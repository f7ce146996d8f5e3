//! Asks a running daemon through its admin port, for the commands of operators.
//!
//! What is asked and answered is in `docs/protocol.md`, section 6. Everything that can go wrong comes
//! back as one line that says what to do.

use super::args::not_empty;
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use serde_json::{Map, Value};
use std::time::Duration;
use ureq::Agent;

const DEFAULT_ADMIN: &str = "127.0.0.1:5003";
const ADMIN_VARIABLE: &str = "STEADFAST_ADMIN";
const TOKEN_VARIABLE: &str = "STEADFAST_ADMIN_TOKEN_FILE";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The daemon itself gives an operation up after 30 s, but requeues and purges in many of them.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);

/// A list has as many entries unless told otherwise, as the admin port does it.
const LIMIT: &str = "100";

/// What is asked, by name.
pub(super) type Question = Map<String, Value>;

/// A daemon's answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// As it came.
    pub(super) text: String,
    /// The same, read.
    pub(super) json: Value,
}

/// Why there is no answer, in one line.
#[derive(Debug)]
pub(super) enum No {
    /// There may be one later.
    Now(String),
    /// There will be none until somebody does something about it.
    Ever(String),
}

impl From<No> for String {
    fn from(no: No) -> Self {
        match no {
            No::Now(why) | No::Ever(why) => why,
        }
    }
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// Tell something.
    Get,
    /// Drop something.
    Delete,
    /// Do something.
    Post,
}

/// The token to show, and the file it came from.
struct Token {
    text: String,
    file: String,
}

/// A running daemon, as an operator sees it.
pub(super) struct Operator {
    agent: Agent,
    admin: String,
    token: Option<Token>,
}

/// The flags that every command has: which daemon, and for whom the answer is.
pub(super) fn common_args() -> [Arg; 3] {
    [
        Arg::new("admin").long("admin").value_name("ADDRESS").value_parser(not_empty).help(
            format!("The daemon's admin port [env: {ADMIN_VARIABLE}] [default: {DEFAULT_ADMIN}]"),
        ),
        Arg::new("token_file")
            .long("token-file")
            .value_name("FILE")
            .help(format!("A file with the daemon's token, if it has one [env: {TOKEN_VARIABLE}]")),
        Arg::new("json")
            .long("json")
            .action(ArgAction::SetTrue)
            .help("Print the daemon's answer as it came, as JSON"),
    ]
}

/// The flags of lists.
pub(super) fn list_args() -> [Arg; 2] {
    [
        Arg::new("limit")
            .long("limit")
            .value_name("N")
            .default_value(LIMIT)
            .value_parser(value_parser!(u64).range(1..=1_000))
            .help("Show at most so many, 1 to 1000"),
        Arg::new("after")
            .long("after")
            .value_name("NEXT")
            .help("Go on after this: what the list before named as next"),
    ]
}

/// The flag that purges need.
pub(super) fn yes_arg() -> Arg {
    Arg::new("yes")
        .long("yes")
        .action(ArgAction::SetTrue)
        .help("Do it: what is purged is gone for good")
}

/// The flags of these names that were given, as a question.
pub(super) fn asked(matches: &ArgMatches, names: &[&str]) -> Question {
    let given = |name: &str| matches.get_one::<String>(name).cloned();
    names
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), Value::String(given(name)?))))
        .collect()
}

/// What a list is asked with: these flags, the place and the number.
pub(super) fn asked_list(matches: &ArgMatches, names: &[&str]) -> Question {
    let mut question = asked(matches, names);
    question.append(&mut asked(matches, &["after"]));
    question.insert("limit".to_owned(), limit(matches).into());
    question
}

fn limit(matches: &ArgMatches) -> u64 {
    *matches.get_one::<u64>("limit").expect("the argument has a default")
}

impl Operator {
    /// The daemon that flags and environment name.
    ///
    /// # Errors
    /// The address is none, or the token cannot be read.
    pub(super) fn of(matches: &ArgMatches) -> Result<Self, String> {
        let named = |flag: &str, variable: &str| {
            let flag = matches.get_one::<String>(flag).cloned();
            flag.or_else(|| std::env::var(variable).ok().filter(|text| !text.is_empty()))
        };
        let admin = named("admin", ADMIN_VARIABLE).unwrap_or_else(|| DEFAULT_ADMIN.to_owned());
        let port = admin.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() || admin.contains('/') {
            return Err(format!(
                "the admin port's address {admin:?} is none; write it as in --admin {DEFAULT_ADMIN}"
            ));
        }
        let token = named("token_file", TOKEN_VARIABLE).map(read_token).transpose()?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(ANSWER_TIMEOUT))
            .build();
        Ok(Self { agent: Agent::new_with_config(config), admin, token })
    }

    /// Its address.
    pub(super) fn admin(&self) -> &str {
        &self.admin
    }

    /// Asks, and takes no for an error.
    ///
    /// # Errors
    /// Nobody is there, or the daemon says no.
    pub(super) fn ask(
        &self,
        method: Method,
        path: &str,
        question: &Question,
    ) -> Result<Answer, String> {
        Ok(self.try_to_ask(method, path, question)?)
    }

    /// The same for who would ask again.
    ///
    /// # Errors
    /// Nobody is there, or the daemon says no.
    pub(super) fn try_to_ask(
        &self,
        method: Method,
        path: &str,
        question: &Question,
    ) -> Result<Answer, No> {
        let exchanged = self.exchange(method, path, question);
        let (status, text) = exchanged.map_err(|error| No::Now(self.unreachable(&error)))?;
        let json = serde_json::from_str::<Value>(&text).ok().filter(Value::is_object);
        let reason = json.as_ref().and_then(|json| json["reason"].as_str());
        match (status, json.as_ref(), reason) {
            (200, Some(_), _) => {}
            (401, _, _) => return Err(No::Ever(self.unauthorized())),
            (503, Some(_), Some(reason)) => return Err(No::Now(format!("{reason} (status 503)"))),
            (_, Some(_), Some(reason)) => {
                return Err(No::Ever(format!("{reason} (status {status})")));
            }
            (_, _, _) => {
                return Err(No::Ever(format!(
                    "{} answers with status {status} and not as an admin port does; name the right \
                     one with --admin",
                    self.admin
                )));
            }
        }
        Ok(Answer { text, json: json.unwrap_or_default() })
    }

    /// The entries of a list, from as many pages as it takes, and where more of them begin.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) fn list(
        &self,
        path: &str,
        name: &str,
        matches: &ArgMatches,
        names: &[&str],
    ) -> Result<(Vec<Value>, Option<String>), String> {
        let mut question = asked_list(matches, names);
        let mut entries = Vec::new();
        let most = limit(matches);
        loop {
            let left = most.saturating_sub(entries.len() as u64);
            question.insert("limit".to_owned(), left.into());
            let mut answer = self.ask(Method::Get, path, &question)?;
            let Some(page) = answer.json[name].as_array_mut().filter(|page| !page.is_empty())
            else {
                return Ok((entries, None));
            };
            entries.append(page);
            let next = match &answer.json["next"] {
                Value::Null => return Ok((entries, None)),
                Value::String(next) => next.clone(),
                next @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                    next.to_string()
                }
            };
            if entries.len() as u64 >= most {
                return Ok((entries, Some(next)));
            }
            question.insert("after".to_owned(), next.into());
        }
    }

    fn exchange(
        &self,
        method: Method,
        path: &str,
        question: &Question,
    ) -> Result<(u16, String), ureq::Error> {
        let url = format!("http://{}{path}", self.admin);
        let bearer = self.token.as_ref().map(|token| format!("Bearer {}", token.text));
        let mut response = match method {
            Method::Get | Method::Delete => {
                let mut request = if method == Method::Get {
                    self.agent.get(url)
                } else {
                    self.agent.delete(url)
                };
                for (name, value) in question {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    request = request.query(name, text);
                }
                if let Some(bearer) = bearer {
                    request = request.header("Authorization", bearer);
                }
                request.call()?
            }
            Method::Post => {
                let mut request = self.agent.post(url).content_type("application/json");
                if let Some(bearer) = bearer {
                    request = request.header("Authorization", bearer);
                }
                request.send(Value::Object(question.clone()).to_string())?
            }
        };
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(u64::MAX).read_to_string()?;
        Ok((status, text))
    }

    /// Nobody is there, or nobody who speaks HTTP.
    fn unreachable(&self, error: &ureq::Error) -> String {
        let error = error.to_string();
        let cause = error.strip_prefix("io: ").unwrap_or(&error);
        format!(
            "cannot ask the daemon at {}: {cause}; is it running, and is this its admin port \
             (--admin, {ADMIN_VARIABLE})?",
            self.admin
        )
    }

    fn unauthorized(&self) -> String {
        match &self.token {
            None => format!(
                "the daemon at {} wants a token; name its file with --token-file (its setting \
                 admin_token_file)",
                self.admin
            ),
            Some(token) => format!(
                "the daemon at {} has another token than {} (--token-file)",
                self.admin, token.file
            ),
        }
    }
}

fn read_token(file: String) -> Result<Token, String> {
    let text = std::fs::read_to_string(&file).map_err(|error| {
        format!("cannot read {file} (--token-file): {error}; check the path and permissions")
    })?;
    let text = text.trim().to_owned();
    if text.is_empty() {
        return Err(format!("{file} (--token-file) is empty; it has to have the daemon's token"));
    }
    Ok(Token { text, file })
}
