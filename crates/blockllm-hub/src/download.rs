//! The download of a repository's files: each goes on where it broke off, and gets its name when its hash is right.
use crate::cache::{Folder, Part};
use crate::listing::{Listing, RemoteFile};
use crate::{HubError, Repository, TimeOuts};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use ureq::config::RedirectAuthHeaders;
use ureq::http::Response;
use ureq::{Agent, Body};

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file that is coming.
    pub file: &'a str,
    /// Bytes of all files that are here.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
}

/// Tries of the list of files: where there is no network, it shall be told soon.
const TRIES_OF_LIST: u32 = 2;

/// Tries in a row of a file, none of which brought more than there was, after which it gives up.
const TRIES_OF_FILE: u32 = 5;

/// Bytes that are read at once, at most.
const PIECE: usize = 1 << 20;

/// What has come of one request.
enum Came {
    /// All of it.
    Whole,
    /// It broke off.
    Part(String),
}

/// Requests for one repository.
pub(crate) struct Download<'a> {
    repository: &'a Repository,
    endpoint: &'a str,
    token: Option<&'a str>,
    time_outs: TimeOuts,
    agent: Agent,
}

impl<'a> Download<'a> {
    pub fn new(
        repository: &'a Repository,
        endpoint: &'a str,
        token: Option<&'a str>,
        time_outs: TimeOuts,
    ) -> Self {
        // A token follows redirects within the endpoint's host, as of repositories that were renamed, and never leaves it.
        let config = Agent::config_builder()
            .timeout_resolve(Some(time_outs.connect))
            .timeout_connect(Some(time_outs.connect))
            .timeout_recv_response(Some(time_outs.read))
            .timeout_per_read(Some(time_outs.read))
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .http_status_as_error(false)
            .user_agent(concat!("blockllm/", env!("CARGO_PKG_VERSION")))
            .build();
        Self {
            repository,
            endpoint,
            token,
            time_outs,
            agent: config.into(),
        }
    }

    /// What `url` answers, as text.
    pub fn text(&self, url: &str) -> Result<String, HubError> {
        self.tried(url, TRIES_OF_LIST, |download| {
            let mut response = match download.get(url, 0)? {
                Ok(response) => response,
                Err(reason) => return Ok(Err((reason, false))),
            };
            let text = response.body_mut().read_to_string();
            Ok(text.map_err(|error| (error.to_string(), false)))
        })
    }

    /// All files of `listing` into `folder`; the folder of their snapshot.
    pub fn all(
        &self,
        listing: &Listing,
        folder: &Folder,
        told: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PathBuf, HubError> {
        let total = listing.size();
        let mut before = 0;
        let mut snapshot = PathBuf::new();
        for file in &listing.files {
            let name = file.name.as_str();
            let mut told = |here: u64| {
                told(Progress {
                    file: name,
                    done: before + here,
                    total,
                });
            };
            self.file(listing, file, folder, &mut told)?;
            told(file.size);
            snapshot = folder.link(&listing.commit, &file.name, file.hash.text())?;
            before += file.size;
        }
        folder.point_to(&listing.commit)?;
        Ok(snapshot)
    }

    /// One file, unless it is here.
    fn file(
        &self,
        listing: &Listing,
        file: &RemoteFile,
        folder: &Folder,
        told: &mut dyn FnMut(u64),
    ) -> Result<(), HubError> {
        let blob = folder.blob(file.hash.text());
        if blob.is_file() {
            return Ok(());
        }
        let Part {
            path,
            file: mut part,
            _lock,
        } = folder.part(file.hash.text())?;
        if blob.is_file() {
            // Another process has published it while this one waited for the lock.
            let _ = fs::remove_file(&path);
            return Ok(());
        }
        let (endpoint, repository, commit, name) =
            (self.endpoint, self.repository, &listing.commit, &file.name);
        let url = format!("{endpoint}/{repository}/resolve/{commit}/{name}");
        let mut most = length(&part, &path)?;
        self.tried(&url, TRIES_OF_FILE, |download| {
            let came = if length(&part, &path)? < file.size {
                download.append(&url, &mut part, &path, file.size, told)?
            } else {
                Came::Whole
            };
            let here = length(&part, &path)?;
            let has_come = here > most;
            most = most.max(here);
            Ok(match came {
                Came::Part(reason) => Err((reason, has_come)),
                Came::Whole if here < file.size => {
                    Err((format!("{here} of {} bytes came", file.size), has_come))
                }
                Came::Whole => Ok(()),
            })
        })?;
        part.seek(SeekFrom::Start(0))
            .map_err(HubError::io(&path, "read"))?;
        let found = file
            .hash
            .of_same_kind(&part, file.size)
            .map_err(HubError::io(&path, "read"))?;
        if found != file.hash.text() {
            let _ = fs::remove_file(&path);
            return Err(HubError::Hash {
                repository: self.repository.clone(),
                file: file.name.clone(),
                expected: file.hash.text().to_owned(),
                found,
            });
        }
        part.sync_all().map_err(HubError::io(&path, "sync"))?;
        fs::rename(&path, &blob).map_err(HubError::io(&blob, "rename a part to"))
    }

    /// What is not yet in `part` of `size` bytes, at its end.
    fn append(
        &self,
        url: &str,
        part: &mut File,
        path: &Path,
        size: u64,
        told: &mut dyn FnMut(u64),
    ) -> Result<Came, HubError> {
        let mut here = length(part, path)?;
        let mut response = match self.get(url, here)? {
            Ok(response) => response,
            Err(reason) => return Ok(Came::Part(reason)),
        };
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        if here > 0 && response.status() == 206 {
            let is_rest =
                header("content-range").is_none_or(|range| range.starts_with(&format!("bytes {here}-")));
            if !is_rest {
                return Ok(Came::Part("another part came than was asked for".into()));
            }
        } else if here > 0 {
            // All of it comes, whatever was asked for; unless it is something else, such as a page that asks for a login.
            if header("content-length").is_some_and(|length| length != size.to_string()) {
                return Ok(Came::Part("a file of another length came".into()));
            }
            part.set_len(0).map_err(HubError::io(path, "empty"))?;
            here = 0;
        }
        told(here);
        let mut body = response.body_mut().as_reader();
        let mut buffer = vec![0; PIECE];
        loop {
            match body.read(&mut buffer) {
                Ok(0) => return Ok(Came::Whole),
                Ok(read) if here + read as u64 > size => {
                    return Ok(Came::Part(format!("more than {size} bytes came")));
                }
                Ok(read) => {
                    part.write_all(&buffer[..read])
                        .map_err(HubError::io(path, "write"))?;
                    here += read as u64;
                    told(here);
                }
                Err(error) => return Ok(Came::Part(error.to_string())),
            }
        }
    }

    /// Asks for `url` from byte `from` on; the inner error is one that another try may mend.
    fn get(&self, url: &str, from: u64) -> Result<Result<Response<Body>, String>, HubError> {
        let mut request = self.agent.get(url);
        if from > 0 {
            request = request.header("Range", format!("bytes={from}-"));
        }
        if let Some(token) = self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(error) => return Ok(Err(error.to_string())),
        };
        match response.status().as_u16() {
            200 | 206 => Ok(Ok(response)),
            status @ (429 | 500..=599) => Ok(Err(format!("status {status}"))),
            status @ (401 | 403 | 404) => Err(HubError::Refused {
                repository: self.repository.clone(),
                status,
                token: if self.token.is_some() {
                    "HF_TOKEN was sent"
                } else {
                    "it is not set"
                },
            }),
            status => Err(HubError::Status {
                repository: self.repository.clone(),
                url: url.into(),
                status,
            }),
        }
    }

    /// The result of `attempt`, made again while it fails for a reason that may go: `tries` times, counted anew from a try that
    /// brought something.
    fn tried<T>(
        &self,
        url: &str,
        tries: u32,
        mut attempt: impl FnMut(&Self) -> Result<Result<T, (String, bool)>, HubError>,
    ) -> Result<T, HubError> {
        let mut failed = 0;
        loop {
            let (reason, has_come) = match attempt(self)? {
                Ok(result) => return Ok(result),
                Err(reason) => reason,
            };
            failed = if has_come { 1 } else { failed + 1 };
            if failed >= tries {
                return Err(HubError::Network {
                    repository: self.repository.clone(),
                    url: url.into(),
                    reason,
                });
            }
            thread::sleep(self.time_outs.retry * 2_u32.pow(failed - 1));
        }
    }
}

fn length(part: &File, path: &Path) -> Result<u64, HubError> {
    let metadata = part.metadata().map_err(HubError::io(path, "read"))?;
    Ok(metadata.len())
}
