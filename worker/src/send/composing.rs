//! What is sent: the text of a job, its code in it.

use super::{Code, Job, KeyRing, Sender, Sms, Task, Template, template};

impl Sender {
    /// The SMS of a job, or the word of what is wrong with it.
    pub(super) fn sms(&self, task: &Task) -> Result<Sms, &'static str> {
        let job = &task.job;
        let template = self.template(job).ok_or("template_unknown")?;
        let code = self.code(job);
        let mut params = task.contents.params.clone();
        if let Some(code) = &code {
            params.insert("code".to_owned(), code.expose().to_owned());
        }
        let mut places = params.clone();
        places.insert("sign".to_owned(), template.sign.clone());
        if let Some(verification) = &job.verification {
            places.insert("minutes".to_owned(), whole_minutes(verification.ttl_ms).to_string());
        }
        let text = template::render(&template.text, &places).map_err(|_| "params_invalid")?;
        Ok(Sms {
            message_id: job.message_id,
            owner: job.owner(),
            phone: task.contents.phone.clone(),
            text,
            template,
            params,
            code,
        })
    }

    fn template(&self, job: &Job) -> Option<Template> {
        let templates = &self.settings.templates;
        if !job.raw_template {
            return templates.get(&job.template).cloned();
        }
        // Its text is the provider's; the sign is that of our codes.
        let sign = templates.get(&self.settings.code.template)?.sign.clone();
        Some(Template { sign, aliyun: Some(job.template.clone()), ..Template::default() })
    }

    pub(super) fn code(&self, job: &Job) -> Option<Code> {
        code(job, &self.keys)
    }
}

/// A job's code; none of a notice. Test keys get the fixed one.
pub(super) fn code(job: &Job, keys: &KeyRing) -> Option<Code> {
    let verification = job.verification.as_ref()?;
    if job.test {
        return Some(Code::fixed(verification.digits));
    }
    Some(Code::derive(&keys.get(&job.key_id)?.code, verification.id, verification.digits))
}

/// The minutes that a text may promise for a code's life: never more than it has, and not none.
fn whole_minutes(ttl_ms: i64) -> i64 {
    (ttl_ms / 60_000).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_whole_minutes_and_at_least_one() {
        let promised = [
            (30_000, 1),
            (60_000, 1),
            (90_000, 1),
            (119_999, 1),
            (120_000, 2),
            (180_000, 3),
            (600_000, 10),
        ];
        for (ttl_ms, minutes) in promised {
            assert_eq!(whole_minutes(ttl_ms), minutes, "{ttl_ms}");
        }
    }
}
