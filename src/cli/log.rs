//! How much is logged and in which form in, a subscriber on standard error out.

use std::fmt;
use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};

use super::terminal;

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Logging")]
pub(super) struct LogArgs {
    /// What is logged: a level (error, warn, info, debug, trace), or directives such as `warn,portcullis=debug`
    #[arg(long, global = true, default_value = "info", value_name = "FILTER", value_parser = filter)]
    log_level: String,
    /// Form of log lines on standard error
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORM")]
    log_format: LogFormat,
}

fn filter(text: &str) -> Result<String, String> {
    // A word alone would be taken for the name of a module, and nothing would be logged.
    if !text.contains(['=', ',']) && text.parse::<tracing::Level>().is_err() && text != "off" {
        return Err("expected error, warn, info, debug, trace or off, or directives".to_owned());
    }
    EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|error| error.to_string())
}

impl LogArgs {
    pub(super) fn start(&self) {
        let filter = EnvFilter::new(&self.log_level);
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        match self.log_format {
            LogFormat::Text => subscriber.with_target(false).fmt_fields(Shown).init(),
            LogFormat::Json => subscriber.json().flatten_event(true).init(),
        }
    }
}

/// The subscriber's own form of fields, except that a terminal obeys nothing of it: names of files and objects are
/// logged, and anybody may have chosen them.
#[derive(Debug)]
struct Shown;

impl<'writer> FormatFields<'writer> for Shown {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut text = String::new();
        // Without colours of its own, which could not be told from others'.
        DefaultFields::new().format_fields(Writer::new(&mut text), fields)?;
        let mut shown = String::with_capacity(text.len());
        terminal::push(&mut shown, &text);
        writer.write_str(&shown)
    }
}
