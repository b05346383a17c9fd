//! Opens a listener with netbind and serves it with tokio.
//!
//! ```text
//! cargo run --example tokio_server --features std -- 127.0.0.1:8080
//! ```
//!
//! It echoes the bytes of every client, which may be `nc 127.0.0.1 8080`, until Ctrl-C. A failed
//! accept ends it too. The example `listen` pauses and goes on instead.

use std::error::Error;

use netbind::ListenOptions;
use netbind::alloc::Global;
use tokio::io::copy;
use tokio::net::{TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(serve(&address))
}

/// Accepts connections and echoes each in a task of its own.
async fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let listener = open(address)?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (client, peer) = listener.accept().await?;
        println!("connected to {peer}");
        tokio::spawn(echo(client));
    }
}

/// Opens a listener and gives it to tokio, which needs it non-blocking.
fn open(address: &str) -> Result<TcpListener, Box<dyn Error>> {
    let options = ListenOptions::new().nonblocking(true);
    let listener = options.listen(address, Global).map_err(|error| error.at(address))?;
    let listener =
        std::net::TcpListener::try_from(listener).map_err(|error| format!("{address}: {error}"))?;
    Ok(TcpListener::from_std(listener)?)
}

/// Sends back all bytes until the client ends or the connection fails.
async fn echo(mut client: TcpStream) {
    let (mut input, mut output) = client.split();
    if let Err(error) = copy(&mut input, &mut output).await {
        eprintln!("connection: {error}");
    }
}
