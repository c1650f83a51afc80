//! The class of each documented `Code`. The vendor lists cause and remedy; the class is our judgement.

use postrider_common::model::job::Lane;
use serde::Deserialize;
use serde_json::Value;

use super::super::class::Class;
use super::super::http::{Response, text};
use super::Answer;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    code: String,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    biz_id: Value,
}

/// The meaning of an answer to a message of this lane.
pub(in crate::provider) fn classify(lane: Lane, response: &Response) -> Answer {
    let Some(body) = response.object::<Body>() else { return response.without_code() };
    let listed = listed(lane, &body);
    let class = response.class(listed);
    if class == Class::Unknown && listed == Some(Class::Accepted) {
        return response.broken();
    }
    let mut answer = response.answer(class, &body.code);
    answer.provider_message_id = text(body.biz_id);
    if class != Class::Accepted {
        answer.error_message = text(body.message);
    }
    answer
}

fn listed(lane: Lane, body: &Body) -> Option<Class> {
    match body.code.as_str() {
        "isv.BUSINESS_LIMIT_CONTROL"
            if is_of_a_minute(body.message.as_str().unwrap_or_default()) =>
        {
            Some(Class::MinuteLimit)
        }
        // A code's parameters are ours, so that its template wants others than we have.
        "isv.TEMPLATE_MISSING_PARAMETERS" if lane == Lane::Code => Some(Class::Account),
        code => of_code(code).or_else(|| of_family(code)),
    }
}

/// The message of the limit for one number names its level: `触发分钟级流控Permits:1`.
fn is_of_a_minute(message: &str) -> bool {
    message.contains("分钟") || message.to_ascii_lowercase().contains("minute")
}

fn of_code(code: &str) -> Option<Class> {
    Some(match code {
        "OK" => Class::Accepted,
        "isp.SYSTEM_ERROR" | "isp.UNKNOWN" | "isp.GATEWAY_ERROR" | "ServiceUnavailable"
        | "InternalError" | "SignatureNonceUsed" => Class::Later,
        "isv.MOBILE_NUMBER_ILLEGAL"
        | "isv.MOBILE_COUNT_OVER_LIMIT"
        | "isv.TEMPLATE_MISSING_PARAMETERS"
        | "isv.TEMPLATE_PARAMS_ILLEGAL"
        | "isv.INVALID_PARAMETERS"
        | "isv.INVALID_JSON_PARAM"
        | "isv.PARAM_LENGTH_LIMIT"
        | "isv.PARAM_NOT_SUPPORT_URL"
        | "isv.BLACK_KEY_CONTROL_LIMIT"
        | "isv.SMS_CONTENT_ILLEGAL"
        | "isv.DOMESTIC_NUMBER_NOT_SUPPORTED" => Class::Refused,
        "isv.BUSINESS_LIMIT_CONTROL" | "isv.DAY_LIMIT_CONTROL" | "isv.MONTH_LIMIT_CONTROL" => {
            Class::NotHere
        }
        // Sign, template, balance, contract, permissions.
        "isv.SMS_SIGNATURE_ILLEGAL"
        | "isv.SMS_SIGN_ILLEGAL"
        | "isv.SIGN_STATE_ILLEGAL"
        | "isv.SIGN_NAME_ILLEGAL"
        | "isv.SMS_SIGNATURE_SCENE_ILLEGAL"
        | "isv.SMS_TEMPLATE_ILLEGAL"
        | "isv.SMS_TEST_NUMBER_LIMIT"
        | "isv.EXTEND_CODE_ERROR"
        | "isv.AMOUNT_NOT_ENOUGH"
        | "isv.OUT_OF_SERVICE"
        | "isv.ACCOUNT_NOT_EXISTS"
        | "isv.ACCOUNT_ABNORMAL"
        | "isv.SECURITY_FROZEN_ACCOUNT"
        | "isv.PRODUCT_UN_SUBSCRIPT"
        | "isv.PRODUCT_UNSUBSCRIBE"
        | "isv.DENY_IP_RANGE"
        | "isv.ERROR_SIGN_NOT_CHECK"
        | "AccessDenied"
        | "UnauthorizedOperation"
        | "InvalidProtocol.NeedSsl"
        | "isp.RAM_PERMISSION_DENY"
        | "PORT_NOT_REGISTERED" => Class::Account,
        _ => return None,
    })
}

/// The gateway's codes have a family and often a detail: `InvalidAccessKeyId.NotFound`.
fn of_family(code: &str) -> Option<Class> {
    Some(match code.split('.').next().unwrap_or(code) {
        "Throttling" => Class::Throttled,
        "InvalidAccessKeyId"
        | "InvalidSecurityToken"
        | "MissingSecurityToken"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "InvalidTimeStamp"
        | "Forbidden"
        | "NoPermission" => Class::Account,
        _ => return None,
    })
}
