//! Small instances whose elements other readers read.

use http::StatusCode;

use super::Instances;

#[tokio::test]
async fn bytes_behind_the_data_set_do_not_hide_what_comes_before() {
    let Some(instances) = Instances::open().await else {
        return;
    };
    let answer = instances
        .get(1, "/metadata", "application/dicom+json")
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
}
