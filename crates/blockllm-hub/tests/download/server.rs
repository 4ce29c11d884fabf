//! A hub of one repository on this machine, which can break off, refuse, redirect and lie.
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The commit of its main branch.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub path: String,
    /// The first byte that is wanted.
    pub from: usize,
    pub range: bool,
    pub authorization: Option<String>,
}

/// What it does with a request.
#[derive(Clone, Debug)]
pub enum Does {
    /// What a hub does.
    Serve,
    /// Ends the connection after so many bytes of the body.
    BreakOffAfter(usize),
    /// Answers with this status and nothing else.
    Status(u16),
    /// Sends somewhere else.
    Redirect(String),
    /// Sends another body of the same length.
    Lie,
    /// Sends everything, whatever range was asked for.
    IgnoreRange,
    /// Sends nothing.
    Hang,
}

pub struct Server {
    pub endpoint: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Serves `files`, doing with the nth request to each path what `does` says.
    pub fn new(files: &[(&str, Vec<u8>)], does: impl Fn(&Request, usize) -> Does + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let files: Vec<(String, Vec<u8>)> = files
            .iter()
            .map(|(name, content)| ((*name).to_owned(), content.clone()))
            .collect();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&stream);
                let before = {
                    let mut seen = seen.lock().unwrap();
                    let before = seen
                        .iter()
                        .filter(|before: &&Request| before.path == request.path);
                    let before = before.count();
                    seen.push(request.clone());
                    before
                };
                let body = match files
                    .iter()
                    .find(|(name, _)| request.path.ends_with(&format!("/{name}")))
                {
                    Some((_, content)) => content.clone(),
                    None => listing(&files).into_bytes(),
                };
                // Whoever asked may have gone.
                let _ = answer(&mut stream, &request, &body, &does(&request, before));
            }
        });
        Self { endpoint, requests }
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Those to paths that end so.
    pub fn requests_to(&self, end: &str) -> Vec<Request> {
        let all = self.requests().into_iter();
        all.filter(|request| request.path.ends_with(end)).collect()
    }
}

/// Git's hash of a blob.
pub fn git_hash(content: &[u8]) -> String {
    let hash = Sha1::new_with_prefix(format!("blob {}\0", content.len())).chain_update(content);
    hex::encode(hash.finalize())
}

pub fn sha256(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// The hub's answer on the repository; weights are in large-file storage.
fn listing(files: &[(String, Vec<u8>)]) -> String {
    let siblings = files.iter().map(|(name, content)| {
        let mut sibling = json!({
            "rfilename": name,
            "size": content.len(),
            "blobId": git_hash(content),
        });
        if name.ends_with(".safetensors") {
            sibling["lfs"] = json!({"sha256": sha256(content), "size": content.len(), "pointerSize": 100});
        }
        sibling
    });
    json!({"sha": COMMIT, "siblings": siblings.collect::<Vec<_>>()}).to_string()
}

fn read(stream: &TcpStream) -> Request {
    let mut request = Request::default();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap_or_default();
        if line.is_empty() {
            break;
        }
        if let Some(path) = line.strip_prefix("GET ") {
            path.split_whitespace()
                .next()
                .unwrap()
                .clone_into(&mut request.path);
        }
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        match name.to_lowercase().as_str() {
            "range" => {
                request.range = true;
                let from = value.trim_start_matches("bytes=").trim_end_matches('-');
                request.from = from.parse().unwrap();
            }
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    request
}

fn answer(stream: &mut TcpStream, request: &Request, body: &[u8], does: &Does) -> std::io::Result<()> {
    let head = |status: &str, length: usize, more: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n")
    };
    let mut send = |status: &str, body: &[u8], whole: usize| {
        stream.write_all(head(status, whole, "").as_bytes())?;
        stream.write_all(body)
    };
    let rest = &body[request.from.min(body.len())..];
    let status = if request.range {
        "206 Partial Content"
    } else {
        "200 OK"
    };
    match does {
        Does::Serve => send(status, rest, rest.len()),
        Does::BreakOffAfter(bytes) => send(status, &rest[..(*bytes).min(rest.len())], rest.len()),
        Does::Status(code) => send(&format!("{code} so it is"), b"", 0),
        Does::Redirect(to) => {
            stream.write_all(head("302 Found", 0, &format!("location: {to}{}\r\n", request.path)).as_bytes())
        }
        Does::Lie => {
            let other: Vec<u8> = rest.iter().map(|byte| byte ^ 1).collect();
            send(status, &other, other.len())
        }
        Does::IgnoreRange => send("200 OK", body, body.len()),
        Does::Hang => {
            thread::sleep(std::time::Duration::from_secs(2));
            Ok(())
        }
    }
}
