//! How apps and the runtime end.

use std::{collections::BTreeMap, sync::PoisonError};

use busbar_registry::AppName;

use super::{
    Running, Runtime, RuntimeError,
    app::{Command, End},
    strays,
};
use crate::sandbox::walls::Walls;

impl Runtime {
    /// Stops all dynos of the app: web dynos finish their requests first, then all get SIGTERM. A release command is told
    /// to end too, and the deploy that waits for it is [`RuntimeError::Stopping`]. Returns when none of their processes is
    /// left. Not cancel safe in one respect: when cancelled, the app goes on stopping.
    ///
    /// # Errors
    /// [`RuntimeError::UnknownApp`].
    pub async fn stop_app(&self, app: &AppName) -> Result<(), RuntimeError> {
        let running = self.apps.lock().unwrap_or_else(PoisonError::into_inner).remove(app);
        let running = running.ok_or_else(|| RuntimeError::UnknownApp(app.clone()))?;
        end(app, running, End::Stop).await;
        Ok(())
    }

    /// Stops all apps at the same time, and returns when none of their processes is left. The runtime can be used again.
    pub async fn shutdown(&self) {
        let stops = self.apps().into_iter().map(|app| async move {
            let _stopped_meanwhile = self.stop_app(&app).await;
        });
        futures_util::future::join_all(stops).await;
        strays::sweep(&self.house, self.house.take_strays(|_| true)).await;
        if let Some(site) = &self.house.site {
            site.tidy();
        }
    }

    /// Lets all dynos go on without a runtime, as if this one had been killed: the next one of this instance adopts them.
    /// Returns when nothing is done with them any more. The program should end then, since they are its children.
    pub async fn leave(&self) {
        let apps: BTreeMap<AppName, Running> =
            std::mem::take(&mut *self.apps.lock().unwrap_or_else(PoisonError::into_inner));
        let leaving = apps.into_iter().map(|(app, running)| async move {
            end(&app, running, End::Leave).await;
        });
        futures_util::future::join_all(leaving).await;
        let _nobody_removes_them = self.house.take_strays(|_| true);
        self.house.walls.iter().for_each(Walls::leave);
    }
}

async fn end(app: &AppName, Running { commands, task, .. }: Running, how: End) {
    // Others who command it may be there still: one waits for a release command.
    let _ended_already = commands.send(Command::End(how)).await;
    if let Err(panicked) = task.await {
        tracing::error!(%app, %panicked, "the task of an app failed; the next runtime finds what it left");
    }
}
