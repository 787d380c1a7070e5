//! The pages, served from the binary.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, VARY,
};

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// What every page may do: load from its own origin, nothing else, nothing inline.
pub(crate) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'self'; \
    form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The built pages.
#[derive(Clone)]
pub(crate) struct Assets {
    // Path below `dist` and content, ascending by path.
    files: &'static [(&'static str, &'static [u8])],
    // The page as it is below the route prefix; `None` at the root, where the file fits as it is.
    index: Option<Bytes>,
}

impl Assets {
    /// The files of the binary, served below `prefix`.
    pub(crate) fn embedded(prefix: &str) -> Self {
        Self::of(FILES, prefix)
    }

    pub(crate) fn of(files: &'static [(&'static str, &'static [u8])], prefix: &str) -> Self {
        let plain = Self { files, index: None };
        let prefix = prefix.trim_end_matches('/');
        let page = plain.find("index.html").and_then(|page| std::str::from_utf8(page).ok());
        let index = page.filter(|_| !prefix.is_empty()).map(|page| {
            let base = format!("<base href=\"{}/\"", attribute(prefix));
            Bytes::from(page.replacen("<base href=\"/\"", &base, 1))
        });
        Self { files, index }
    }

    /// The same, with a page that knows in which server it is.
    pub(crate) fn told(self, mode: &str) -> Self {
        let told = format!("<meta name=\"cupola-mode\" content=\"{}\"", attribute(mode));
        self.written("<meta name=\"cupola-mode\" content=\"\"", &told)
    }

    /// The same, with a page of another title.
    pub(crate) fn titled(self, title: &str) -> Self {
        self.written("<title>Cupola</title>", &format!("<title>{}</title>", attribute(title)))
    }

    // With the first `before` of the page written as `after`.
    fn written(self, before: &str, after: &str) -> Self {
        let page = match &self.index {
            Some(page) => Some(page.clone()),
            None => self.find("index.html").map(Bytes::from_static),
        };
        let page = page.as_ref().and_then(|page| std::str::from_utf8(page).ok());
        let index = page.map(|page| Bytes::from(page.replacen(before, after, 1)));
        Self {
            files: self.files,
            index,
        }
    }

    /// Whether the binary was built with its pages.
    pub(crate) fn has_pages(&self) -> bool {
        self.find("index.html").is_some()
    }

    fn find(&self, path: &str) -> Option<&'static [u8]> {
        let at = self.files.binary_search_by(|(name, _)| (*name).cmp(path)).ok()?;
        self.files.get(at).map(|(_, bytes)| *bytes)
    }

    /// The file at `path` below the root, or `None`.
    pub(crate) fn file(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        // The page is not to be had under its file name: it would not know its base there.
        let plain = self.find(path).filter(|_| path != "index.html")?;
        // Names under assets/ carry a hash of their content, so they may be kept for ever.
        let cache = if path.starts_with("assets/") {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        Some(self.answer(path, plain, headers, cache))
    }

    /// The one page; the browser finds out which place it shows.
    pub(crate) fn index(&self, headers: &HeaderMap, status: StatusCode) -> Response {
        let mut response = match (&self.index, self.find("index.html")) {
            (Some(page), _) => {
                let etag = format!("\"{:08x}\"", hash(page));
                respond("index.html", page.clone(), None, &etag, headers, "no-cache")
            }
            (None, Some(page)) => self.answer("index.html", page, headers, "no-cache"),
            (None, None) => {
                let text =
                    "This binary was built without its pages. Build it with `make build`; the API works meanwhile.\n";
                let mut response = Response::new(Body::from(text));
                *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                return response;
            }
        };
        if response.status() == StatusCode::OK {
            *response.status_mut() = status;
        }
        response
    }

    fn answer(&self, path: &str, plain: &'static [u8], headers: &HeaderMap, cache: &'static str) -> Response {
        let packed = [("br", "br"), ("gzip", "gz")]
            .into_iter()
            .filter(|(coding, _)| accepts(headers, coding))
            .find_map(|(coding, ending)| Some((coding, self.find(&format!("{path}.{ending}"))?)));
        let (coding, bytes) = packed.map_or((None, plain), |(coding, bytes)| (Some(coding), bytes));
        let etag = format!("\"{:08x}-{}\"", hash(plain), coding.unwrap_or("id"));
        respond(path, Bytes::from_static(bytes), coding, &etag, headers, cache)
    }
}

fn respond(
    path: &str,
    bytes: Bytes,
    coding: Option<&'static str>,
    etag: &str,
    headers: &HeaderMap,
    cache: &'static str,
) -> Response {
    let mut response = Response::new(Body::empty());
    let out = response.headers_mut();
    out.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    out.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    out.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Ok(value) = HeaderValue::from_str(etag) {
        out.insert(ETAG, value);
    }
    if headers
        .get(IF_NONE_MATCH)
        .is_some_and(|v| v.as_bytes() == etag.as_bytes())
    {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return response;
    }
    if let Some(coding) = coding {
        out.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    *response.body_mut() = Body::from(bytes);
    response
}

/// Whether the client takes `coding`, as its `Accept-Encoding` says.
pub(crate) fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|item| {
            let (name, weight) = item.split_once(';').unwrap_or((item, ""));
            let weight = weight
                .trim()
                .strip_prefix("q=")
                .and_then(|q| q.trim().parse::<f32>().ok());
            name.trim().eq_ignore_ascii_case(coding) && weight != Some(0.0)
        })
}

fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

// FNV-1a; an ETag only has to differ when the content does.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or("") {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" | "webmanifest" => "application/json",
        "png" => "image/png",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: &[(&str, &[u8])] = &[
        ("assets/a.js", b"let a"),
        ("assets/a.js.br", b"BR"),
        ("assets/a.js.gz", b"GZ"),
        ("icon.svg", b"<svg/>"),
        ("index.html", b"<head><base href=\"/\" /></head>"),
        ("index.html.gz", b"GZ"),
    ];

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    async fn body(response: Response) -> String {
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn files_come_in_the_coding_that_the_client_takes() {
        let assets = Assets::of(FEW, "");
        for (accept, expected) in [
            ("gzip, br", "BR"),
            ("gzip", "GZ"),
            ("br;q=0, gzip;q=0.5", "GZ"),
            ("zstd", "let a"),
        ] {
            let response = assets.file("assets/a.js", &headers(ACCEPT_ENCODING, accept)).unwrap();
            assert_eq!(response.headers()[CONTENT_TYPE], "text/javascript; charset=utf-8");
            assert!(
                response.headers()[CACHE_CONTROL]
                    .to_str()
                    .unwrap()
                    .contains("immutable")
            );
            assert_eq!(body(response).await, expected, "{accept}");
        }
        assert!(assets.file("assets/b.js", &HeaderMap::new()).is_none());
        assert!(assets.file("../Cargo.toml", &HeaderMap::new()).is_none());
        assert_eq!(
            assets.file("icon.svg", &HeaderMap::new()).unwrap().headers()[CACHE_CONTROL],
            "no-cache"
        );
    }

    #[tokio::test]
    async fn a_page_that_the_browser_has_is_not_sent_again() {
        let assets = Assets::of(FEW, "");
        let first = assets.index(&HeaderMap::new(), StatusCode::OK);
        let etag = first.headers()[ETAG].to_str().unwrap().to_owned();
        let again = assets.index(&headers(IF_NONE_MATCH, &etag), StatusCode::OK);
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(body(again).await, "");
        assert_eq!(
            assets.index(&HeaderMap::new(), StatusCode::NOT_FOUND).status(),
            StatusCode::NOT_FOUND
        );
    }

    #[tokio::test]
    async fn below_a_prefix_the_page_knows_its_base() {
        let assets = Assets::of(FEW, "/prom");
        let page = assets.index(&headers(ACCEPT_ENCODING, "gzip"), StatusCode::OK);
        assert!(page.headers().get(CONTENT_ENCODING).is_none());
        assert_eq!(body(page).await, "<head><base href=\"/prom/\" /></head>");
    }

    #[tokio::test]
    async fn the_page_is_told_whose_it_is() {
        let few: &[(&str, &[u8])] = &[(
            "index.html",
            b"<base href=\"/\" /><meta name=\"cupola-mode\" content=\"\" />",
        )];
        for (prefix, base) in [("", "/"), ("/am", "/am/")] {
            let page = Assets::of(few, prefix).told("alertmanager");
            let expected = format!("<base href=\"{base}\" /><meta name=\"cupola-mode\" content=\"alertmanager\" />");
            assert_eq!(body(page.index(&HeaderMap::new(), StatusCode::OK)).await, expected);
        }
    }

    #[tokio::test]
    async fn the_page_has_the_title_that_is_wanted() {
        let few: &[(&str, &[u8])] = &[("index.html", b"<base href=\"/\" /><title>Cupola</title>")];
        let page = Assets::of(few, "/p").titled("Lab & </title><b>");
        let page = body(page.index(&HeaderMap::new(), StatusCode::OK)).await;
        assert_eq!(page, "<base href=\"/p/\" /><title>Lab &amp; &lt;/title>&lt;b></title>");
    }

    #[tokio::test]
    async fn without_pages_the_server_says_how_to_get_them() {
        let response = Assets::of(&[], "").index(&HeaderMap::new(), StatusCode::OK);
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(body(response).await.contains("make build"));
    }

    #[test]
    fn the_pages_are_those_of_this_checkout() {
        let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it when the test runs");
        assert_eq!(
            CHECKOUT, here,
            "built in another checkout that shares the target folder"
        );
    }
}
