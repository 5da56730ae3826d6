// A person at the pages of the OpenID Provider: a name, a password, and consent if it is asked for.

export async function logIn(page, person) {
  await page.locator('input[name="login"]').waitFor({ timeout: 30_000 });
  await page.locator('input[name="login"]').fill(person);
  await page.locator('input[name="password"]').fill('x');
  const asksForConsent = page.locator('input[name="prompt"][value="consent"]');
  await leave(page, () => page.getByRole('button', { name: 'Sign-in' }).click());
  if (await asksForConsent.count()) {
    await leave(page, () => page.getByRole('button', { name: 'Continue' }).click());
  }
}

// The form has been sent, and the page is another one.
async function leave(page, send) {
  const before = page.url();
  await send();
  await page.waitForURL(url => url.href !== before, { waitUntil: 'domcontentloaded', timeout: 30_000 });
}
