//! What the verbs share that run an app: how its dynos live.

use std::num::NonZeroU32;

use dyno_runtime::AppDefinition;

use crate::config::units::Span;

/// How dynos live.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "How dynos live")]
pub(crate) struct LifeFlags {
    /// A web dyno has this long until $PORT accepts (R10) [default: 60s]
    #[arg(long, env = "BUSBAR_BOOT_TIMEOUT", value_name = "TIME")]
    boot_timeout: Option<Span>,
    /// A dyno has this long from SIGTERM to its end (R12) [default: 30s]
    #[arg(long, env = "BUSBAR_EXIT_TIMEOUT", value_name = "TIME")]
    exit_timeout: Option<Span>,
    /// Where dynos replace others, a new web dyno is up before the old one gets no more requests
    #[arg(long, env = "BUSBAR_PREBOOT")]
    preboot: bool,
    /// At most so many dynos are replaced at the same time [default: all]
    #[arg(long, env = "BUSBAR_ROLLING", value_name = "N")]
    rolling: Option<NonZeroU32>,
    /// Replace each dyno when it has run for this long, and up to 15 % longer, by chance; on Heroku 24h [default: never]
    #[arg(long, env = "BUSBAR_CYCLE", value_name = "TIME")]
    cycle: Option<Span>,
    /// Log memory and load of each dyno every 20 seconds, as Heroku's log-runtime-metrics
    #[arg(long, env = "BUSBAR_LOG_RUNTIME_METRICS")]
    log_runtime_metrics: bool,
}

impl LifeFlags {
    /// Writes what was said into the definition.
    pub(crate) fn apply(&self, app: &mut AppDefinition) {
        if let Some(Span(boot)) = self.boot_timeout {
            app.times.boot = boot;
        }
        if let Some(Span(exit)) = self.exit_timeout {
            app.times.exit = exit;
        }
        app.replacement.preboot |= self.preboot;
        app.replacement.at_once = self.rolling.map(NonZeroU32::get).or(app.replacement.at_once);
        app.cycle = self.cycle.map(|Span(period)| period).filter(|period| !period.is_zero()).or(app.cycle);
        app.metrics.log |= self.log_runtime_metrics;
    }
}
