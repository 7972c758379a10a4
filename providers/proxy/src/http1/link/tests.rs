//! Backends that answer and reset at once in, what of the answer is read out.

use std::io::Write;
use std::net::TcpListener;
use std::thread;

use http::{Request, StatusCode};

use super::*;
use crate::places::Places;

/// Answers whoever connects before it has heard anything, and resets the connection.
fn answering(listener: TcpListener) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 2\r\n\r\nno")
            .unwrap();
        rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    })
}

/// What a link answers to a request without a body.
async fn asked(link: &Rc<RefCell<Link>>) -> Response<AnswerBody> {
    let (head, ()) = Request::new(()).into_parts();
    let asking = Asking {
        head: &head,
        host: &HeaderValue::from_static("a"),
        told: None,
        as_they_came: false,
        interims: None,
    };
    let mut body = RequestBody::empty();
    let patience = Patience {
        limit: Duration::from_secs(20),
        taking: Duration::from_secs(20),
        progress: body.progress(),
    };
    ask(link, &asking, &mut body, &patience).await.unwrap()
}

#[tokio::test]
async fn an_answer_is_read_though_the_backend_takes_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    // Nothing is told of the socket while this waits: the refusal is learned of first.
    answering(listener).join().unwrap();
    let place = Places::new(1).take().unwrap();
    let link = Rc::new(RefCell::new(Link::new(Stream::Plain(stream), place, 1024)));
    let answer = asked(&link).await;
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(matches!(link.borrow().unsent, Some(Unsent::Refused(_))));
    assert!(!link.borrow().is_free());
}

#[tokio::test]
async fn a_link_that_rests_holds_no_buffer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut backend, _) = listener.accept().unwrap();
    let place = Places::new(1).take().unwrap();
    let link = Rc::new(RefCell::new(Link::new(Stream::Plain(stream), place, 1024)));
    for length in [2, 100_000, 2] {
        let answering = thread::spawn(move || {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let answer = [head.as_bytes(), &vec![b'x'; length]].concat();
            backend.write_all(&answer).unwrap();
            backend
        });
        let answer = asked(&link).await;
        let (mut body, mut came) = (answer.into_body(), 0);
        while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
            came += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(came, length);
        assert!(link.borrow().is_free());
        link.borrow_mut().rest();
        let rests = link.borrow();
        assert_eq!(
            (rests.input.capacity(), rests.ahead),
            (0, Ahead::FIRST),
            "{length}"
        );
        drop(rests);
        backend = answering.join().unwrap();
    }
}
