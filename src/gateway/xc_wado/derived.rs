//! Sub-resources between communities that the gateway makes itself, for partners from its own
//! locations. No manifest lists the instances: a series is what its source has of it.

use std::sync::Arc;

use http::Response;

use crate::body::Body;
use crate::derive::SelectedInstances;
use crate::gateway::edge::exchange::Exchange;
use crate::gateway::edge::link::Locator;
use crate::gateway::edge::response::warn_of_patient;
use crate::gateway::xc_wado::Holder;
use crate::gateway::{Error, Gateway};
use crate::instance::Listing;
use crate::request::XcWado;
use crate::resource::{SubResource, Target};
use crate::retrieve::{self, Job, PatientCheck, Plan, RelayRequest};

impl Gateway {
    /// A sub-resource that the gateway derives, unless its source shows that it offers it.
    pub(crate) async fn derived_between(
        &self,
        exchange: &Exchange<'_>,
        request: &XcWado,
        holder: Holder,
        sub_resource: &SubResource,
    ) -> Result<Response<Body>, Error> {
        let patient = self.registered_patient(request.target.study()).await;
        let locator = Locator {
            base: self.xc_wado_base(exchange, request),
            target: request.target.clone(),
            sub_resource: sub_resource.clone(),
        };
        let response = match (&request.target, sub_resource) {
            (Target::Instance(..), _) => {
                let plan = plan_of_one(exchange, request, holder, patient.clone());
                self.sub_resource_of_one(exchange, plan, &locator).await
            }
            (Target::Series(..) | Target::Study(_), SubResource::Metadata) => {
                let relay = RelayRequest {
                    hop: Arc::clone(&exchange.hop),
                    source: holder.source,
                    target: request.target.clone(),
                    patient: patient.clone(),
                };
                self.relayed_metadata(exchange, relay, &locator).await
            }
            (Target::Series(..) | Target::Study(_), _) => Err(Error::OfInstancesOnly),
        };
        let mut response = response.map_err(between_communities)?;
        if let Some(patient) = patient {
            warn_of_patient(&mut response, &patient)?;
        }
        Ok(response)
    }

    async fn sub_resource_of_one(
        &self,
        exchange: &Exchange<'_>,
        plan: Plan,
        locator: &Locator,
    ) -> Result<Response<Body>, Error> {
        if let Some(response) = self.passed_through(exchange, &plan, locator).await? {
            return Ok(response);
        }
        let context = self.context(exchange);
        let selected = SelectedInstances { plan, context };
        self.derived(exchange, selected, locator).await
    }
}

/// The same error, which does not reveal whether the location or the study is unknown.
fn between_communities(error: Error) -> Error {
    if let Error::Retrieve(retrieve::Error::Source(source)) = &error {
        return Error::between_communities(source.clone());
    }
    error
}

/// A plan of the one instance that is asked for.
fn plan_of_one(
    exchange: &Exchange<'_>,
    request: &XcWado,
    holder: Holder,
    patient: Option<Arc<PatientCheck>>,
) -> Plan {
    let mut plan = Plan::new(Arc::clone(&exchange.hop));
    if let Target::Instance(study, series, uid) = &request.target {
        plan.jobs.push(Job {
            source: holder.source,
            listing: Arc::new(Listing::new(study, series, [uid].into_iter())),
            only: Some(uid.clone()),
            patient,
        });
    }
    plan
}
