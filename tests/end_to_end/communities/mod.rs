//! XC-WADO between the gateways of two communities.

mod attacks;
mod border;
mod disclosure;
mod loops;
mod pair;
mod partners;
mod refusals;
mod sub_resources;
mod xc_wado;
