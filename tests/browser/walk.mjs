// A buyer and then the shop's owner, in a real browser: search, product, cart, checkout, the order in the shop's admin.
// Reads its task as JSON on standard input (the admin's password must not be an argument), prints a JSON result.
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const task = JSON.parse(readFileSync(0, 'utf8'));
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--host-resolver-rules=MAP * 127.0.0.1'];
const by = (name) => `[data-test="${name}"]`;

async function shot(page, name) {
  if (!task.shots) return;
  mkdirSync(task.shots, { recursive: true });
  await page.screenshot({ path: join(task.shots, `${task.name}-${name}.png`) });
}

// Whatever a page asks of another origin, or fails to load, is a fault of the shop.
function watch(page, faults) {
  const origin = new URL(task.url).origin;
  page.on('response', (r) => { if (r.status() >= 400) faults.push(`${r.status()} ${r.url()}`); });
  page.on('request', (r) => { if (!r.url().startsWith(origin) && !r.url().startsWith('data:')) faults.push(`foreign ${r.url()}`); });
  page.on('pageerror', (e) => faults.push(`script ${e.message}`));
}

async function refshop(page) {
  await page.goto(task.url);
  await shot(page, 'home');
  await page.fill(by('search-input'), task.search);
  await page.press(by('search-input'), 'Enter');
  await page.waitForSelector(by('product-link'));
  await shot(page, 'search');
  await page.locator(by('product-link')).first().click();
  await page.waitForSelector(by('add-to-cart'));
  await shot(page, 'product');
  await page.click(by('add-to-cart'));
  await page.waitForLoadState();
  await page.click(by('cart-link'));
  await page.waitForSelector(by('checkout-link'));
  await shot(page, 'cart');
  await page.click(by('checkout-link'));
  await page.waitForSelector(by('place-order'));
  for (const [field, value] of Object.entries(task.buyer)) {
    if (field === 'country') await page.selectOption(by(field), value);
    else await page.fill(by(field), value);
  }
  await shot(page, 'checkout');
  await page.click(by('place-order'));
  await page.waitForSelector(by('order-number'));
  await shot(page, 'confirmation');
  return (await page.textContent(by('order-number'))).trim();
}

async function owner(page, number) {
  await page.goto(task.admin.url);
  await page.fill(by('admin-email'), task.admin.user);
  await page.fill(by('admin-password'), task.admin.password);
  await page.click(by('admin-login'));
  const row = page.locator(by('order-row')).filter({ hasText: number });
  await row.first().waitFor();
  await shot(page, 'admin');
}

async function wordpressLogin(page) {
  // Pages of wp-admin ask wordpress.org what is new and wait for it a while where there is no way out.
  page.setDefaultTimeout(60000);
  await page.goto(task.admin.url);
  // A moment after it came, the page moves the focus to the name: a password that is being typed then would end up there.
  await page.waitForFunction(() => document.activeElement?.id === 'user_login');
  await page.fill('#user_login', task.admin.user);
  await page.fill('#user_pass', task.admin.password);
  await page.click('#wp-submit');
  await page.waitForSelector('#wpadminbar');
}

async function wordpress(page) {
  await page.goto(task.url);
  await shot(page, 'home');
  await wordpressLogin(page);
  await shot(page, 'admin');
  return 'logged in';
}

const admin = (path) => new URL(path, task.admin.url).href;

// As the owner does it: each zip uploaded, then activated.
async function addCode(page) {
  await wordpressLogin(page);
  await page.goto(admin('plugin-install.php?tab=upload'));
  await page.setInputFiles('#pluginzip', task.code.plugin.zip);
  await page.click('#install-plugin-submit');
  await page.click('a.button-primary[href*="action=activate"]');
  await page.goto(admin('theme-install.php'));
  await page.click('.upload-view-toggle');
  await page.setInputFiles('#themezip', task.code.theme.zip);
  await page.click('#install-theme-submit');
  await page.click('a.activatelink, a[href*="action=activate"]');
  return codeAtWork(page);
}

async function findCode(page) {
  await wordpressLogin(page);
  return codeAtWork(page);
}

// Active in the owner's lists, and seen by visitors.
async function codeAtWork(page) {
  const { plugin, theme } = task.code;
  await page.goto(admin('plugins.php'));
  await page.waitForSelector(`tr.active[data-plugin="${plugin.name}/${plugin.name}.php"]`);
  await page.goto(admin('themes.php'));
  await page.waitForSelector(`.theme.active[data-slug="${theme.name}"]`);
  await page.goto(task.url);
  for (const { name } of [plugin, theme]) await page.waitForSelector(by(name), { state: 'attached' });
  return 'active';
}

const walks = {
  refshop: async (page) => {
    const number = await refshop(page);
    await owner(page, number);
    return number;
  },
  wordpress,
  'wordpress-add-code': addCode,
  'wordpress-find-code': findCode,
};

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', headless: true, args: flags });
const faults = [];
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
  const page = await context.newPage();
  page.setDefaultTimeout(20000);
  if (task.kind === 'refshop') watch(page, faults);
  const result = await walks[task.kind](page).catch(async (error) => {
    const seen = await page.innerText('body', { timeout: 5000 }).catch((why) => `nothing to read: ${why.message}`);
    process.stderr.write(`at ${page.url()}, which says: ${seen.slice(0, 600)}\n`);
    throw error;
  });
  process.stdout.write(JSON.stringify({ result, faults }) + '\n');
} finally {
  await browser.close();
}
