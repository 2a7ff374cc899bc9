//! The app that a runtime in this process runs.

use std::{collections::BTreeSet, sync::Arc};

use busbar_registry::{AppName, DynoName, ProcessType};
use dyno_runtime::{
    Formation, LogLine, OneOff, Procfile, Replacement, Runtime, RuntimeError, ScaleChange, Started, Tail,
};
use jiff::Timestamp;

use crate::{
    admin::api::{ProcessGroup, Restarted, Scaled},
    dynos::{Dynos, Target},
    say::ps::DynoStatus,
};

/// The one app that a runtime in this process runs.
pub(crate) struct RunningApp {
    /// Who runs it.
    pub(crate) runtime: Arc<Runtime>,
    /// Its name.
    pub(crate) app: AppName,
    /// Its commands.
    pub(crate) procfile: Procfile,
}

#[async_trait::async_trait]
impl Dynos for RunningApp {
    async fn ps(&self) -> Result<Vec<ProcessGroup>, RuntimeError> {
        let all = self.runtime.ps(&self.app).await?;
        let formation = self.runtime.formation(&self.app).await?;
        let group = |process_type: &ProcessType| ProcessGroup {
            app: self.app.to_string(),
            process_type: process_type.to_string(),
            command: self.procfile.command(process_type).map(str::to_owned),
            quantity: formation.quantity(process_type),
            size: formation.size(process_type).map(|size| size.to_string()),
            dynos: all.iter().filter(|dyno| dyno.dyno.process_type == *process_type).map(status).collect(),
        };
        // One-off dynos have a type that is in no Procfile.
        let others: BTreeSet<&ProcessType> = all.iter().map(|dyno| &dyno.dyno.process_type).collect();
        let others = others.into_iter().filter(|t| self.procfile.command(t).is_none());
        Ok(self.procfile.types().chain(others).map(group).collect())
    }

    async fn scale(&self, changes: Vec<ScaleChange>) -> Result<Vec<Scaled>, RuntimeError> {
        let formation = self.runtime.scale(&self.app, changes).await?;
        Ok(scaled(&formation))
    }

    async fn restart(&self, target: Target, how: Option<Replacement>) -> Result<Restarted, RuntimeError> {
        self.runtime.restart(&self.app, target.into(), how).await?;
        Ok(Restarted { app: self.app.to_string() })
    }

    async fn run(&self, order: OneOff) -> Result<Started, RuntimeError> {
        self.runtime.run(&self.app, order).await
    }

    async fn hang_up(&self, dyno: DynoName) {
        let _the_app_is_gone = self.runtime.stop_one_off(&self.app, dyno, true).await;
    }

    fn logs(&self, most: usize) -> Option<(Vec<LogLine>, Tail)> {
        self.runtime.logs(&self.app, most).ok()
    }
}

fn scaled(formation: &Formation) -> Vec<Scaled> {
    formation
        .iter()
        .map(|(process_type, share)| Scaled {
            process_type: process_type.clone(),
            quantity: share.quantity,
            size: share.size.map(|size| size.to_string()),
        })
        .collect()
}

fn status(dyno: &dyno_runtime::DynoStatus) -> DynoStatus {
    DynoStatus {
        name: dyno.dyno.to_string(),
        state: dyno.phase.to_string(),
        since: Timestamp::try_from(dyno.since).ok(),
        address: dyno.address.map(Into::into),
        pid: dyno.pid,
        memory: dyno.memory,
        quota: dyno.quota,
        crashes: Some(dyno.crashes),
    }
}
