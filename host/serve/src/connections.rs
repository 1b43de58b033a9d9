//! Accepts, limits and ends connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, oneshot},
};

use crate::routes::{State, router};

/// Time for the headers of a request, and between two requests of a connection.
const HEADERS: Duration = Duration::from_secs(10);
/// Most bytes of the headers.
const HEADER_BYTES: usize = 16 << 10;
/// Time that open requests have when the server ends.
const END: Duration = Duration::from_secs(10);
/// Pause after a connection that could not be accepted, as for lack of descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until SIGINT or SIGTERM arrives, or the model cannot be served any more; then finishes the requests
/// that have begun.
///
/// # Errors
/// The address cannot be used; or what `failure` says of the model.
pub async fn serve(
    address: SocketAddr,
    connections: usize,
    state: Arc<State>,
    mut failure: oneshot::Receiver<String>,
    quiet: bool,
) -> Result<(), String> {
    let unusable = |error: std::io::Error| {
        format!("cannot listen on {address}: {error}; choose another one with --address")
    };
    let listener = TcpListener::bind(address).await.map_err(unusable)?;
    let bound = listener.local_addr().map_err(unusable)?;
    let listen = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
    let (mut interrupt, mut terminate) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    if !quiet {
        eprintln!(
            "serving {} on http://{bound} (/openapi.json describes it)",
            state.model.about.run
        );
    }
    let free = Arc::new(Semaphore::new(connections));
    let graceful = GracefulShutdown::new();
    let router = router(state);
    let mut failed = None;
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&free).acquire_owned() => permit,
            text = &mut failure => {
                failed = text.ok();
                break;
            }
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        };
        // The semaphore is never closed.
        let Ok(permit) = permit else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            text = &mut failure => {
                failed = text.ok();
                break;
            }
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Answers are small and whole.
        let _ = stream.set_nodelay(true);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS)
            .max_buf_size(HEADER_BYTES)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::info!("a connection ended: {error}");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(END, graceful.shutdown()).await.is_err() {
        log::warn!("some requests did not end within {} s and were dropped", END.as_secs());
    }
    failed.map_or(Ok(()), Err)
}
